"""The table of links."""

from django.db import migrations, models
from django.utils import timezone

from example_project.links.models import new_slug


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.CreateModel(
            name="Link",
            fields=[
                (
                    "slug",
                    models.SlugField(
                        default=new_slug, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("url", models.URLField(max_length=2000)),
                (
                    "created",
                    models.DateTimeField(db_index=True, default=timezone.now, editable=False),
                ),
            ],
            options={"ordering": ["-created"]},
        ),
    ]

"""The permissions on counters. No table is made."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Counter",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("alias", models.TextField()),
                ("key", models.TextField()),
                ("value", models.BigIntegerField()),
                ("ttl", models.FloatField(null=True, verbose_name="time left")),
            ],
            options={
                "permissions": [
                    ("reset_counter", "Can reset counters, and forgive at rate limits"),
                ],
                "managed": False,
                "default_permissions": ("view", "change", "delete"),
                "base_manager_name": "objects",
            },
        ),
    ]

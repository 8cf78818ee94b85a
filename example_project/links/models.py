"""Short links."""

from secrets import token_urlsafe

from django.db import models
from django.urls import reverse
from django.utils import timezone


def new_slug() -> str:
    """Return 48 random bits in 8 characters: nobody guesses one link from another."""
    return token_urlsafe(6)


class Link(models.Model):
    """An address, and the slug that leads to it."""

    slug = models.SlugField(primary_key=True, default=new_slug, editable=False)
    url = models.URLField(max_length=2000)
    created = models.DateTimeField(default=timezone.now, db_index=True, editable=False)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        return reverse("link", args=[self.slug])

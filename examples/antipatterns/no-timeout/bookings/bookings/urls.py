"""Addresses."""

from django.urls import path

from bookings import views

urlpatterns = [path("free/<str:day>", views.free)]

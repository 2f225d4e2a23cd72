"""What guests see."""

from django.http import JsonResponse

from bookings.rooms import free_rooms


def free(request, day):
    return JsonResponse({"day": day, "rooms": free_rooms(day)})

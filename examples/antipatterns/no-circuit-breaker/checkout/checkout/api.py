"""The checkout: sums up a basket and shows what else might please."""

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from checkout.recommendations import Recommendations

recommendations = Recommendations()


async def summary(request):
    basket = await request.json()
    skus = [line["sku"] for line in basket["lines"]]
    total = sum(line["quantity"] * line["price"] for line in basket["lines"])
    return JSONResponse({"total": total, "also": await recommendations.beside(skus)})


app = Starlette(routes=[Route("/summary", summary, methods=["POST"])])

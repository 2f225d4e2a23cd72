"""What is answered, which messages are sent and taken, and who calls whom."""

from __future__ import annotations

import pytest

from .reading import code


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ('@app.route("/a/<int:id>", methods=["POST"])\ndef f(id): ...', ("POST", "/a/{}")),
        ('@app.get("/a/{id}")\nasync def f(id): ...', ("GET", "/a/{}")),
        ('bp = Blueprint("b", __name__, url_prefix="/b")\n@bp.route("/a")\ndef f(): ...', ("GET", "/b/a")),
        ('r = APIRouter(prefix="/b")\n@r.put("/a/")\ndef f(): ...', ("PUT", "/b/a")),
        ('from django.urls import path\nurlpatterns = [path("a/<int:pk>/", f)]\ndef f(r, pk): ...', ("", "/a/{}")),
        ('from django.urls import re_path\nu = [re_path(r"^a/(?P<pk>\\d+)/$", f)]\ndef f(r, pk): ...', ("", "/a/{}")),
        ('from aiohttp import web\nx = [web.post("/a", f)]\nasync def f(r): ...', ("POST", "/a")),
        ('app.router.add_get("/a", f)\nasync def f(r): ...', ("GET", "/a")),
        ("from nameko.rpc import rpc\n@rpc\ndef f(): ...", ("f", "")),
        ('from nameko.web.handlers import http\n@http("GET", "/a/<string:x>")\ndef f(): ...', ("GET", "/a/{}")),
        ('from celery import shared_task\n@shared_task(name="a")\ndef f(): ...', ("task", "a")),
        ("@service.on(OrderPlaced)\nasync def f(event, tx): ...", ("on", "OrderPlaced")),
    ],
)
def test_routes_of_each_framework(text: str, route: tuple[str, str]) -> None:
    """Method and path, with a pair of braces for each parameter, and the function that answers."""
    (found,) = code(app=text).routes
    assert ((found.method, found.path), found.function) == (route, "f")


def test_a_servicer_answers_by_its_methods() -> None:
    """Each public method of a class made from a gRPC servicer."""
    (found,) = code(app="class S(pb.ShopServicer):\n    def Buy(self, r, c): ...\n    def _x(self): ...").routes
    assert (found.function, found.path) == ("S.Buy", "/Shop/Buy")


def test_a_handler_in_another_file_is_found_there() -> None:
    """Django names a view in `urls.py`; the route is at the view."""
    urls = 'from django.urls import path\nfrom . import views\nurlpatterns = [path("a/", views.buy)]'
    (found,) = code(shop__urls=urls, shop__views="def buy(r): ...").routes
    assert (found.place.file, found.function) == ("shop/views.py", "buy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import pika\nch.basic_publish(exchange="", routing_key="a", body=b)', ("a", True)),
        ('import aio_pika\nasync def f(): await ex.publish(m, routing_key="a")', ("a", True)),
        ('from kafka import KafkaProducer\nproducer = KafkaProducer()\nproducer.send("a", b"")', ("a", True)),
        ('from confluent_kafka import Producer\np = Producer({})\np.produce("a", b"")', ("a", True)),
        ('from kafka import KafkaConsumer\nc = KafkaConsumer("a")', ("a", False)),
        ('import redis\nr = redis.Redis()\nr.publish("a", "x")', ("a", True)),
        ('import nats\nTOPIC = "a"\nasync def f(): await nc.publish(TOPIC, b"")', ("a", True)),
        ('import celery\napp.send_task("a.b")', ("a.b", True)),
        ("async def f(tx): await service.outbox.record(tx, Placed(id=1))", ("Placed", True)),
        ('from nameko.events import event_handler\n@event_handler("s", "a")\ndef f(p): ...', ("s.a", False)),
    ],
)
def test_messages_of_each_library(text: str, message: tuple[str, bool]) -> None:
    """The topic, also through a name in the same file, and the direction."""
    (found,) = code(app=text).messages
    assert (found.topic, found.sends) == message


def test_sending_with_no_broker_is_no_message() -> None:
    """`send` and `publish` are words that other libraries use too."""
    assert code(app='import httpx\nclient.send(request)\npage.publish("x")').messages == ()


def test_calls_between_functions_are_followed_over_imports_and_instances() -> None:
    """A method of self, of a base class, of an instance at the top of another module, and a name that is passed on."""
    found = code(
        shop__store="class Base:\n    def load(self): ...\nclass Store(Base):\n    def get(self): self.load()\nstore = Store()",
        shop__names="from .store import store",
        shop__app="from .names import store\ndef f():\n    store.get()\ndef g():\n    run(f)\n",
        shop____init__="",
    ).reaches
    assert found["shop/app.py", "f"] == {("shop/store.py", "Store.get")}
    assert found["shop/store.py", "Store.get"] == {("shop/store.py", "Base.load")}
    assert found["shop/app.py", "g"] == {("shop/app.py", "f")}


def test_a_class_that_is_named_in_a_route_answers_by_its_methods() -> None:
    """The path is said in one place, the methods in another; together they are one route each."""
    text = "from flask_restful import Resource\nclass A(Resource):\n    def get(self): ...\n    def post(self): ...\n"
    found = code(app=text + 'api.add_resource(A, "/a/<int:id>")\n').routes
    assert {(each.function, each.method, each.path) for each in found} == {
        ("A.get", "GET", "/a/{}"),
        ("A.post", "POST", "/a/{}"),
    }


@pytest.mark.parametrize(
    "files",
    [
        {"shop__app": "from shop.users import router\napp = FastAPI()\napp.include_router(router, prefix='/api/users')\n",
         "shop__users": "router = APIRouter()\n@router.get('/{id}')\ndef f(id): ...\n"},
        {"shop__app": "from . import users\napp = FastAPI()\napp.include_router(users.router, prefix='/api')\n",
         "shop__users": "router = APIRouter(prefix='/users')\n@router.get('/{id}')\ndef f(id): ...\n"},
        {"shop__app": "from .api import api\napp.include_router(api, prefix='/api')\n",
         "shop__api": "from .users import router\napi = APIRouter()\napi.include_router(router, prefix='/users')\n",
         "shop__users": "router = APIRouter()\n@router.get('/{id}')\ndef f(id): ...\n"},
        {"shop__app": "from shop.users import bp\napp.register_blueprint(bp, url_prefix='/api/users')\n",
         "shop__users": "bp = Blueprint('b', __name__, url_prefix='/old')\n@bp.route('/<id>')\ndef f(id): ...\n"},
        {"shop__app": "from shop.users import bp\napp.register_blueprint(bp)\n",
         "shop__users": "bp = Blueprint('b', __name__, url_prefix='/api/users')\n@bp.route('/<id>')\ndef f(id): ...\n"},
        {"shop__app": "from django.urls import include, path\nurlpatterns = [path('api/users/', include('shop.users'))]\n",
         "shop__users": "from django.urls import path\nurlpatterns = [path('<int:id>/', f)]\ndef f(r, id): ...\n"},
    ],
    ids=["fastapi", "two prefixes", "a router in a router", "a blueprint's new prefix", "a blueprint's own", "django"],
)  # fmt: skip
def test_a_router_that_is_put_below_a_path_elsewhere_answers_there(files: dict[str, str]) -> None:
    """The path is the whole of it, wherever its parts stand."""
    (found,) = code(shop____init__="", **files).routes
    assert (found.path, found.place.file) == ("/api/users/{}", "shop/users.py")


def test_routers_that_include_each_other_end() -> None:
    """A circle is no endless path."""
    one = "from shop.b import r as other\nr = APIRouter()\nr.include_router(other, prefix='/b')\n@r.get('/x')\ndef f(): ...\n"
    other = one.replace("shop.b", "shop.a").replace("'/b'", "'/a'")
    assert len(code(shop__a=one, shop__b=other, shop____init__="").routes) < 20

"""Django's admin and Channels: the same answers with our edges in the project, and its spans."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ADMIN = """
import json, re, sys
import django
from django.conf import settings

traced = sys.argv[1] == "traced"
settings.configure(
    ROOT_URLCONF="__main__",
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="x",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=["tracekit.django.Middleware"] * traced + [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
    STATIC_URL="/static/",
    USE_TZ=True,
    LOGGING_CONFIG=None,
)
django.setup()

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.urls import path
import tracekit.testing

urlpatterns = [path("admin/", admin.site.urls)]
call_command("migrate", verbosity=0)
User.objects.create_superuser("ada", password="secret")

def told(response):
    body = re.sub(rb'name="csrfmiddlewaretoken" value="[^"]*"', b"", response.content)
    body = re.sub(rb"[0-9]+:[0-9]+(:[0-9]+)?( [ap].m.)?|now|0.[0-9]+ minutes", b"", body)
    return [response.status_code, response.get("Location"), len(body), sorted(response.cookies)]

with tracekit.testing.recording() as spans:
    client = Client(headers={"host": "shop"}) if django.VERSION >= (4, 2) else Client()
    answers = [
        told(client.get("/admin/")),
        told(client.post("/admin/login/?next=/admin/", {"username": "ada", "password": "wrong"})),
        told(client.post("/admin/login/?next=/admin/", {"username": "ada", "password": "secret"})),
        told(client.get("/admin/")),
        told(client.get("/admin/auth/group/add/")),
        told(client.post("/admin/auth/group/add/", {"name": "staff"})),
        told(client.get("/admin/auth/group/")),
        told(client.get("/admin/auth/group/1/change/")),
        told(client.post("/admin/auth/group/1/delete/", {"post": "yes"})),
        told(client.get("/admin/nowhere/")),
    ]
    answers.append(Group.objects.count())
    print(json.dumps([answers, [span.name for span in spans]]))
"""
ROUTES = [
    "GET admin/",
    "POST admin/login/",
    "POST admin/login/",
    "GET admin/",
    "GET admin/auth/group/add/",
    "POST admin/auth/group/add/",
    "GET admin/auth/group/",
    "GET admin/auth/group/<path:object_id>/change/",
    "POST admin/auth/group/<path:object_id>/delete/",
    "GET admin/(?P<url>.*)$",
]

CHANNELS = """
import asyncio, json, sys
import django
from django.conf import settings

how = sys.argv[1]
settings.configure(
    ROOT_URLCONF="__main__",
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="x",
    INSTALLED_APPS=["channels"],
    MIDDLEWARE=["tracekit.django.Middleware"] * (how != "bare"),
    LOGGING_CONFIG=None,
)
django.setup()

from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.testing import HttpCommunicator, WebsocketCommunicator
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path
import tracekit.asgi, tracekit.testing

urlpatterns = [path("orders/<name>", lambda request, name: HttpResponse(name))]

class Echo(AsyncJsonWebsocketConsumer):
    async def connect(self):
        await self.accept("v1" if "v1" in self.scope["subprotocols"] else None)
    async def receive_json(self, content):
        await self.send_json([self.scope["url_route"]["kwargs"]["room"], content])
        if content == "bye":
            await self.close(4000)

class Poll(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_headers(headers=[(b"content-type", b"text/plain")])
        await self.send_body(b"a", more_body=True)
        await self.send_body(b"b")

application = ProtocolTypeRouter({
    "http": URLRouter([
        path("poll", Poll.as_asgi()), path("orders/<name>", get_asgi_application()),
    ]),
    "websocket": URLRouter([path("rooms/<room>", Echo.as_asgi())]),
})
if how == "outside":
    application = tracekit.asgi.middleware(application)

async def ask():
    told = []
    for where in ("/orders/tea", "/poll"):
        answer = await HttpCommunicator(
            application, "GET", where, headers=[(b"host", b"shop")]
        ).get_response(timeout=20)
        told.append([answer["status"], answer["body"].decode()])
    socket = WebsocketCommunicator(application, "/rooms/tea", subprotocols=["v1"])
    told.append(list(await socket.connect(timeout=20)))
    for said in ("hello", "bye"):
        await socket.send_json_to(said)
        told.append(await socket.receive_json_from(timeout=20))
    told.append(await socket.receive_output(timeout=20))
    await socket.wait(timeout=20)
    return told

with tracekit.testing.recording() as spans:
    told = asyncio.run(ask())
    print(json.dumps([told, [span.name for span in spans]]))
"""


def ran(program, how):
    done = subprocess.run(
        [sys.executable, "-c", program, how],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_admin_works():
    """Log in, add, list, change and delete: what the bare project answers; a span for each."""
    bare, none = ran(ADMIN, "bare")
    traced, names = ran(ADMIN, "traced")
    assert traced == bare
    assert none == []
    assert names == ROUTES


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ("within", ["GET orders/<name>"]),
        ("outside", ["GET orders/<name>", "GET", "GET"]),
    ],
)
def test_channels_are_untouched(how, names):
    """Its consumers are no views: only the edge outside of the router has spans for them."""
    bare, _ = ran(CHANNELS, "bare")
    traced, spans = ran(CHANNELS, how)
    assert traced == bare
    assert spans == names

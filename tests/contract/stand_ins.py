"""Small servers that speak like the stores that no test can reach.

Written to the pages that the adapters name: Cloud Storage's JSON listing and XML downloads,
OAuth's token exchange, the Hugging Face hub's revision, tree and resolve, NGC's files of a
version and its key exchange, and a registry's manifest. What they do not know, they refuse.
"""

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote

from aiohttp import web as http

from poolhand.config.stores import Gs, Hf, Ngc, Stores

BUCKET = "models"
TOKEN = "t0ken-of-an-hour"  # noqa: S105  # everybody may know it
SUBJECT = "t0ken-of-another-provider"
ACTING = "t0ken-of-who-acts"
KEY = "k3y-of-the-old-kind"
COMMIT = "c0ffee" + "0" * 34
OTHER_COMMIT = "decade" + "0" * 34
PAGE_FILES = 400

Answer = Callable[["Shelf", http.BaseRequest], Awaitable[http.StreamResponse]]


@dataclass
class Shelf:
    """What a stand-in holds, and how it is made to behave.

    Attributes:
        objects: By container and path, such as ``models/tiny/a.json``.
        token: What is taken for good; anything else is refused.
        statuses: Answered first, one a request, before anything else is looked at.
        seen: ``METHOD path`` of each request, and what came in a form.
        authorized: Paths that were asked for with an Authorization.
        damaged: Objects that are sent with one bit turned, under the tag of the good ones.
        has_tags: Whether answers bear a version tag.
        is_gated: Whether the hub lists a repository and gives none of its files.
        life_s: How long a token is said to live, in seconds.
        url: The stand-in's own origin.
        onward: Where redirected bytes lie: another origin, which refuses any Authorization.
    """

    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    token: str = TOKEN
    statuses: list[int] = field(default_factory=list[int])
    seen: list[str] = field(default_factory=list[str])
    authorized: list[str] = field(default_factory=list[str])
    damaged: set[str] = field(default_factory=set[str])
    has_tags: bool = True
    is_gated: bool = False
    life_s: int = 3600
    url: str = ""
    onward: str = ""

    def under(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        for key, content in sorted(self.objects.items()):
            if key.startswith(prefix):
                yield key.removeprefix(prefix), content

    def has_container(self, name: str) -> bool:
        return name == "models"

    def is_known(self, request: http.BaseRequest) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    def give(self, request: http.BaseRequest, content: bytes | None) -> http.Response:
        """An object as HTTP has it: ranges, version tags and conditions."""
        if content is None:
            return http.Response(status=404)
        tag = f'"{hashlib.md5(content).hexdigest()}"'  # noqa: S324  # a tag, not a secret
        headers = {"ETag": tag} if self.has_tags else {}
        if any(self.objects.get(key) == content for key in self.damaged):
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.has_tags and request.headers.get("If-Match", tag) != tag:
            return http.Response(status=412)
        asked = request.headers.get("Range", "")
        if not asked:
            return http.Response(body=content, headers=headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        if int(first) >= len(content):
            headers["Content-Range"] = f"bytes */{len(content)}"
            return http.Response(status=416, headers=headers)
        stop = min(int(last) + 1, len(content))
        headers["Content-Range"] = f"bytes {first}-{stop - 1}/{len(content)}"
        return http.Response(status=206, body=content[int(first) : stop], headers=headers)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@asynccontextmanager
async def standing(answer: Answer) -> AsyncGenerator[Shelf]:
    """Run a stand-in on loopback, on two ports: its own, and one for redirected bytes."""
    shelf = Shelf()

    async def handle(request: http.BaseRequest) -> http.StreamResponse:
        shelf.seen.append(f"{request.method} {request.raw_path}")
        if "Authorization" in request.headers:
            shelf.authorized.append(request.path)
        if shelf.statuses and (status := shelf.statuses.pop(0)) != 200:
            return http.Response(status=status, headers={"Retry-After": "0"})
        if request.path.startswith("/onward/"):
            if "Authorization" in request.headers:
                return http.Response(status=400)
            key = unquote(request.raw_path.partition("?")[0]).removeprefix("/onward/")
            return shelf.give(request, shelf.objects.get(key))
        return await answer(shelf, request)

    runner = http.ServerRunner(http.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    urls: list[str] = []
    for _ in range(2):
        site = http.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
    urls = [f"http://127.0.0.1:{address[1]}" for address in runner.addresses]
    shelf.url, shelf.onward = urls
    try:
        yield shelf
    finally:
        await runner.cleanup()


def path_of(request: http.BaseRequest) -> str:
    return unquote(request.raw_path.partition("?")[0])


async def _lent(shelf: Shelf, request: http.BaseRequest) -> http.Response | None:
    """Google's exchange of federated tokens, and the tokens of accounts that others act for."""
    if request.path == "/sts":
        form = parse_qs(await request.text())
        shelf.seen.append(f"FORM {json.dumps(form)}")
        if form.get("subject_token") != [SUBJECT]:
            return http.json_response({"error": "invalid_grant"}, status=400)
        lives = form["scope"][0].endswith("read_only")
        token = shelf.token if lives else ACTING
        return http.json_response({"access_token": token, "expires_in": 3600})
    if request.path.endswith(":generateAccessToken"):
        if request.headers.get("Authorization") != f"Bearer {ACTING}":
            return http.Response(status=403)
        shelf.seen.append(f"BODY {await request.text()}")
        until = "2033-11-06T08:49:37Z"
        return http.json_response({"accessToken": shelf.token, "expireTime": until})
    return None


async def gcs(shelf: Shelf, request: http.BaseRequest) -> http.StreamResponse:
    """Google Cloud Storage, and the place where keys become tokens."""
    if request.method == "POST" and request.path == "/token":
        form = parse_qs(await request.text())
        if form.get("refresh_token") != [KEY] and "assertion" not in form:
            return http.json_response({"error": "invalid_grant"}, status=400)
        shelf.seen.append(f"FORM {json.dumps(form)}")
        return http.json_response({"access_token": shelf.token, "expires_in": shelf.life_s})
    if request.method == "POST" and (answer := await _lent(shelf, request)) is not None:
        return answer
    if request.path == "/subject" and request.headers.get("x-who") == "node":
        return http.json_response({"it": {"is": "no table"}, "value": SUBJECT})
    if shelf.token and not shelf.is_known(request):
        return http.Response(status=401)
    if request.path.startswith("/storage/v1/b/"):
        bucket = request.path.split("/")[4]
        if not shelf.has_container(bucket):
            return http.Response(status=404)
        prefix = f"{bucket}/{request.query.get('prefix', '')}"
        rest = list(shelf.under(prefix))
        begin = int(request.query.get("pageToken", "0"))
        items = [
            {
                "name": f"{request.query.get('prefix', '')}{name}",
                "size": str(len(content)),
                "generation": generation(content),
            }
            for name, content in rest[begin : begin + PAGE_FILES]
        ]
        page: dict[str, object] = {"items": items}
        if begin + PAGE_FILES < len(rest):
            page["nextPageToken"] = str(begin + PAGE_FILES)
        return http.json_response(page)
    content = shelf.objects.get(path_of(request).removeprefix("/"))
    wanted = request.headers.get("x-goog-if-generation-match")
    if content is not None and wanted not in {None, generation(content)}:
        return http.Response(status=412)
    return shelf.give(request, content)


def generation(content: bytes) -> str:
    return str(int(sha256(content)[:12], 16))


async def hub(shelf: Shelf, request: http.BaseRequest) -> http.StreamResponse:
    """The Hugging Face hub: safetensors and empty files lie in its large-file store."""
    if not shelf.is_known(request):
        return http.Response(status=401, headers={"X-Error-Code": "RepoNotFound"})
    parts = path_of(request).removeprefix("/").split("/")
    if parts[:2] == ["api", "models"]:
        org, name, verb, revision = *parts[2:5], "/".join(parts[5:])
        if not shelf.has_container(org) or not any(shelf.under(f"{org}/{name}/")):
            return http.Response(status=404, headers={"X-Error-Code": "RepoNotFound"})
        if revision not in {"main", "refs/pr/1", COMMIT}:
            return http.Response(status=404, headers={"X-Error-Code": "RevisionNotFound"})
        if verb == "revision":
            return http.json_response({"sha": COMMIT})
        return _tree(shelf, request, f"{org}/{name}/")
    org, name, verb, revision = parts[:4]
    key = f"{org}/{name}/{'/'.join(parts[4:])}"
    if verb != "resolve" or revision != COMMIT:
        return http.Response(status=404)
    if shelf.is_gated:
        return http.Response(status=403, headers={"X-Error-Code": "GatedRepo"})
    if key.endswith(".safetensors") and key in shelf.objects:
        target = request.raw_path.partition("?")[0].replace(f"/resolve/{COMMIT}/", "/")
        where = f"{shelf.onward}/onward{target}?Expires=99999999999&Signature=s3cret"
        return http.Response(status=302, headers={"Location": where, "ETag": '"of-the-hub"'})
    return shelf.give(request, shelf.objects.get(key))


def _tree(shelf: Shelf, request: http.BaseRequest, prefix: str) -> http.Response:
    rest = list(shelf.under(prefix))
    begin = int(request.query.get("cursor", "0"))
    entries: list[dict[str, object]] = [{"type": "directory", "path": "sub", "size": 0}]
    for name, content in rest[begin : begin + PAGE_FILES]:
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": "0"}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        entries.append(entry)
    headers: dict[str, str] = {}
    if begin + PAGE_FILES < len(rest):
        onward = f"{shelf.url}{request.path}?recursive=true&cursor={begin + PAGE_FILES}"
        headers["Link"] = f'<{onward}>; rel="next"'
    return http.json_response(entries, headers=headers)


async def ngc(shelf: Shelf, request: http.BaseRequest) -> http.StreamResponse:
    """NGC with storage of the second kind, and its exchange of keys."""
    if request.path == "/token":
        known = base64.b64encode(f"$oauthtoken:{KEY}".encode()).decode()
        is_good = request.headers.get("Authorization") == f"Basic {known}"
        scope = request.query.get("scope", "")
        if not is_good or not scope.startswith("group/ngc:"):
            return http.Response(status=401)
        return http.json_response({"token": shelf.token})
    if not shelf.is_known(request):
        return http.Response(status=401)
    parts = path_of(request).removeprefix("/v2/org/").split("/")
    org, kind, name, _, version, verb = parts[:6]
    if kind != "models" or version != "1" or verb != "files" or not shelf.has_container(org):
        return http.json_response({"requestStatus": {"statusCode": "NOT_FOUND"}}, status=404)
    rest = list(shelf.under(f"{org}/{name}/"))
    if len(parts) == 6:
        number = int(request.query["page-number"])
        begin = (number - 1) * PAGE_FILES
        files = [
            {
                "path": path,
                "sizeInBytes": len(content),
                "sha256_base64": base64.b64encode(bytes.fromhex(sha256(content))).decode(),
            }
            for path, content in rest[begin : begin + PAGE_FILES]
        ]
        pages = max(1, -(-len(rest) // PAGE_FILES))
        page = {
            "requestStatus": {"statusCode": "SUCCESS"},
            "paginationInfo": {"totalPages": pages},
            "modelVersion": {"storageVersion": "V2"},
            "modelFiles": files,
        }
        return http.json_response(page)
    key = f"{org}/{name}/{'/'.join(parts[6:])}"
    if key not in shelf.objects:
        return http.Response(status=404)
    target = request.raw_path.partition(f"/versions/{version}/files/")[2]
    where = f"{shelf.onward}/onward/{org}/{name}/{target}?X-Amz-Signature=s3cret"
    return http.Response(status=302, headers={"Location": where})


async def registry(shelf: Shelf, request: http.BaseRequest) -> http.StreamResponse:
    """A registry's public objects: the manifest is made of what lies beside it."""
    path = path_of(request).removeprefix("/")
    prefix, _, name = path.rpartition("/")
    if name == "manifest.json" and path not in shelf.objects:
        files = [
            {"path": one, "size_bytes": len(content), "sha256": sha256(content)}
            for one, content in shelf.under(f"{prefix}/")
        ]
        if not files:
            return http.Response(status=404)
        return shelf.give(request, json.dumps({"schema_version": 1, "files": files}).encode())
    return shelf.give(request, shelf.objects.get(path))


@dataclass
class Web:
    """A stand-in, and how its kind of store is reached."""

    kind: str
    shelf: Shelf
    form: str
    chosen: Stores

    async def put(self, path: str, content: bytes) -> None:
        self.shelf.objects[f"{BUCKET}/{path}"] = content

    def ref(self, path: str) -> str:
        return self.form.format(bucket=BUCKET, path=path)

    def stores(self) -> Stores:
        return self.chosen


@asynccontextmanager
async def web(kind: str, folder: Path) -> AsyncGenerator[Web]:
    """Stand one in, with the credentials that it takes."""
    answer = {"gcs": gcs, "hub": hub, "ngc": ngc, "registry": registry}[kind]
    async with standing(answer) as shelf:
        trusted = (shelf.onward.removeprefix("http://"),)
        secret = folder / "secret"
        key = {"type": "authorized_user", "refresh_token": KEY, "token_uri": f"{shelf.url}/token"}
        secret.write_text({"gcs": json.dumps(key), "hub": TOKEN, "ngc": KEY}.get(kind, ""))
        chosen = Stores(
            trusted_hosts=trusted,
            gs=Gs(endpoint=shelf.url, auth="adc", credentials_file=str(secret)),
            hf=Hf(endpoint=shelf.url, token_file=str(secret)),
            ngc=Ngc(endpoint=shelf.url, auth_endpoint=shelf.url, key_file=str(secret)),
        )
        form = {
            "gcs": "gs://{bucket}/{path}",
            "hub": "hf://{bucket}/{path}",
            "ngc": "ngc://{bucket}/{path}:1",
            "registry": f"{shelf.url}/{{bucket}}/{{path}}/manifest.json",
        }[kind]
        yield Web(kind, shelf, form, chosen)

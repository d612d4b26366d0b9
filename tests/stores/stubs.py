"""Small servers of our own, where no emulator can be had: what OSS, Google and Hugging Face are asked for here."""

import base64
import contextlib
import hashlib
import json
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote


class Stub(BaseHTTPRequestHandler):
    """Files in memory; `files` and `requests` are the class's own."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    requests: list[tuple[str, str]]

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def ranged(self, body, **headers):
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if found is None:
            return self.answer(200, body, **headers)
        part = body[int(found[1]) : int(found[2]) + 1]
        return self.answer(206, part, Content_Range=f"bytes {found[1]}-{found[2]}/{len(body)}", **headers)

    def log_message(self, *_):
        pass


class OssStub(Stub):
    """The bucket `rows`."""

    def serve(self):
        path, _, query = self.path.partition("?")
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        self.requests.append((self.command, key))
        body = self.body()
        found = self.files.get(key)
        if bucket != "rows":
            self.error(404, "NoSuchBucket")
        elif not key:
            prefix = parse_qs(query).get("prefix", [""])[0]
            entries = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(content)}</Size><ETag>&quot;{tag(content)}&quot;</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for name, content in sorted(self.files.items())
                if name.startswith(prefix)
            )
            self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode())
        elif self.command == "POST":
            self.answer(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        elif "uploadId=" in query:
            self.answer(204)
        elif self.command == "PUT":
            if self.refused(found):
                self.error(*self.exists)
            else:
                self.files[key] = body
                self.answer(200, ETag=f'"{tag(body)}"')
        elif self.command == "DELETE":
            self.files.pop(key, None)
            self.answer(204)
        elif found is None:
            self.error(404, "NoSuchKey")
        elif self.headers.get("If-Match", f'"{tag(found)}"') != f'"{tag(found)}"':
            self.error(412, "PreconditionFailed")
        elif self.command == "HEAD":
            self.answer(200, ETag=f'"{tag(found)}"', Content_Length=str(len(found)))
        else:
            self.ranged(found, ETag=f'"{tag(found)}"')

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = serve
    exists = 409, "FileAlreadyExists"

    def refused(self, found):
        return found is not None and self.headers.get("x-oss-forbid-overwrite") == "true"

    def error(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode())


class GoogleStub(OssStub):
    """The same of Google Cloud Storage, in its XML form: conditions are on generations."""

    exists = 412, "PreconditionFailed"

    def refused(self, found):
        wanted = self.headers.get("x-goog-if-generation-match")
        return wanted is not None and wanted != ("0" if found is None else generation(found))

    def answer(self, status, body=b"", **headers):
        key = unquote(self.path.partition("?")[0]).lstrip("/").partition("/")[2]
        if key in self.files:
            headers["x-goog-generation"] = generation(self.files[key])
        headers.setdefault("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        super().answer(status, body, **headers)


def generation(body):
    """Return a number that is another one whenever the content is."""
    return str(int(tag(body)[:12], 16))


class HubStub(Stub):
    """The dataset `owner/rows`; `commits` has what each commit holds."""

    commits: list[dict[str, bytes]]

    def serve(self):
        path = unquote(self.path.partition("?")[0])
        self.requests.append((self.command, path))
        body = self.body()
        head = f"{len(self.commits) - 1:040x}"
        if path == "/api/datasets/owner/rows":
            return self.say({"id": "owner/rows", "sha": head, "siblings": []})
        if found := re.fullmatch(r"/api/datasets/owner/rows/(tree|paths-info)/(\w+)(?:/(.*))?", path):
            files = self.commits[int(found[2], 16)]
            if found[1] == "paths-info":
                given = body.decode()
                wanted = json.loads(given)["paths"] if given.startswith("{") else parse_qs(given)["paths"]
                files = {name: files[name] for name in wanted if name in files}
            elif found[3] and not any(name.startswith(f"{found[3]}/") for name in files):
                return self.answer(404, b"{}", X_Error_Code="EntryNotFound")
            else:
                files = {name: files[name] for name in files if not found[3] or name.startswith(f"{found[3]}/")}
            return self.say(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": tag(content)}
                    for name, content in files.items()
                ]
            )
        if found := re.fullmatch(r"/datasets/owner/rows/resolve/(\w+)/(.*)", path):
            files = self.commits[int(found[1], 16)]
            return self.ranged(files[found[2]]) if found[2] in files else self.answer(404, X_Error_Code="EntryNotFound")
        if path == "/api/datasets/owner/rows/auth-check/write":
            return self.say({})
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            return self.say({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        if "/commit/" in path:
            lines = [json.loads(line) for line in body.splitlines()]
            if lines[0]["value"].get("parentCommit") not in (None, head):
                return self.answer(412, b"{}")
            files = dict(self.commits[-1])
            for line in lines[1:]:
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                else:
                    files.pop(line["value"]["path"], None)
            self.commits.append(files)
            return self.say(
                {
                    "success": True,
                    "commitOid": f"{len(self.commits) - 1:040x}",
                    "commitUrl": "https://huggingface.co/datasets/owner/rows/commit/1",
                }
            )
        return self.answer(404, b"{}", X_Error_Code="RepoNotFound")

    do_GET = do_POST = do_HEAD = serve

    def say(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")


def tag(body):
    """Return what a version of a file is known by."""
    return hashlib.md5(body).hexdigest()


@contextlib.contextmanager
def serving(kind):
    """Yield the address of a stub and its class."""
    handler = type(kind.__name__, (kind,), {"files": {}, "requests": [], "commits": [{}]})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()
        thread.join()

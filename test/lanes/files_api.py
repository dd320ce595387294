"""Databricks' own client against the stand-in of its Files API (test/support/databricks-files.ts): what the tests of our
client rest on is what that client expects. Usage: files_api.py NODE STAND_IN"""

import io
import json
import subprocess
import sys

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError, NotFound, PermissionDenied, Unauthenticated

failures = 0
folder = "/Volumes/main/sluice/staging/sdk"


def report(what, problem=None):
    global failures
    failures += problem is not None
    print(f"{'ok' if problem is None else 'FAILED'}: {what}{'' if problem is None else f': {problem}'}")


def equal(what, found, wanted):
    report(what, None if found == wanted else f"{found!r}, not {wanted!r}")


def refused(what, call, kind, status, code=None):
    try:
        call()
        report(what, "it was taken")
    except DatabricksError as error:
        wrong = not isinstance(error, kind) or (code is not None and error.error_code != code)
        report(what, f"{type(error).__name__} {error.error_code}: {error}" if wrong else None)


def main(node, stand_in):
    server = subprocess.Popen([node, stand_in], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        told = json.loads(server.stdout.readline())
        files = client(told["host"], told["token"]).files
        content = bytes(range(256)) * 1000

        files.upload(f"{folder}/a/b.bin", io.BytesIO(content), overwrite=False)
        equal("an upload makes its directories", files.download(f"{folder}/a/b.bin").contents.read(), content)
        refused(
            "one that may not overwrite doesn't",
            lambda: files.upload(f"{folder}/a/b.bin", io.BytesIO(b"other"), overwrite=False),
            DatabricksError,
            409,
            "ALREADY_EXISTS",
        )
        equal("its size is told", files.get_metadata(f"{folder}/a/b.bin").content_length, len(content))
        files.upload(f"{folder}/a/b.bin", io.BytesIO(b"other"), overwrite=True)
        equal("one that may overwrites", files.download(f"{folder}/a/b.bin").contents.read(), b"other")

        names = [f"f{number}" for number in range(10)]
        for name in names:
            files.upload(f"{folder}/many/{name}", io.BytesIO(name.encode()))
        files.create_directory(f"{folder}/many/folder")
        files.create_directory(f"{folder}/many/folder")
        entries = list(files.list_directory_contents(f"{folder}/many"))
        equal("a list in pages has all", sorted(entry.name for entry in entries), sorted([*names, "folder"]))
        equal("it tells directories", [entry.name for entry in entries if entry.is_directory], ["folder"])
        equal("and paths", {entry.path for entry in entries if entry.name == "f1"}, {f"{folder}/many/f1"})
        equal("and sizes", {entry.file_size for entry in entries if not entry.is_directory}, {2})

        files.get_directory_metadata(f"{folder}/many")
        refused("a directory that isn't empty stays", lambda: files.delete_directory(f"{folder}/many"), DatabricksError, 400)
        files.delete_directory(f"{folder}/many/folder")
        for name in names:
            files.delete(f"{folder}/many/{name}")
        files.delete_directory(f"{folder}/many")
        for what, call in {
            "a directory": lambda: list(files.list_directory_contents(f"{folder}/many")),
            "a directory's metadata": lambda: files.get_directory_metadata(f"{folder}/many"),
            "a file": lambda: files.download(f"{folder}/many/f1"),
            "a file's metadata": lambda: files.get_metadata(f"{folder}/many/f1"),
            "what is deleted": lambda: files.delete(f"{folder}/many/f1"),
            "a volume": lambda: files.download("/Volumes/main/sluice/other/f1"),
        }.items():
            refused(f"{what} that isn't there", call, NotFound, 404)
        stranger = client(told["host"], told["stranger"]).files
        refused("what nobody was granted", lambda: stranger.download(f"{folder}/a/b.bin"), PermissionDenied, 403)
        unknown = client(told["host"], "dapi-of-nobody").files
        refused("a token of nobody", lambda: unknown.download(f"{folder}/a/b.bin"), Unauthenticated, 401)
    finally:
        server.stdin.close()
        server.wait(timeout=30)


def client(host, token):
    return WorkspaceClient(host=host, token=token, auth_type="pat")


main(*sys.argv[1:3])
sys.exit(1 if failures else 0)

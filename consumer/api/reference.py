"""/docs: the OpenAPI document as a page for people. One file without scripts or images, which loads nothing."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from typing import Any

_STYLE = """\
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0 1rem; width: 100%; }
caption { font-weight: 600; text-align: left; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; }
h2 { border-top: 1px solid #8886; margin-top: 2rem; padding-top: 1rem; }
"""
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    f" style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
)
_REF = "#/components/schemas/"


def page(document: Mapping[str, Any]) -> str:
    """The page in HTML."""
    about, schemas = document["info"], document["components"]["schemas"]
    title = f"{about['title']} {about['version']}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{_paragraph(about['description'])}"
        f"{_paragraph(_access(document))}"
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>\n'
        f"{''.join(_operation(path, each['get']) for path, each in document['paths'].items())}"
        f"{''.join(_schema(name, each) for name, each in schemas.items())}"
        "</main>\n</body>\n</html>\n"
    )


def _access(document: Mapping[str, Any]) -> str:
    if "security" in document:
        return "Requests need an access token: `Authorization: Bearer` and the token."
    return "This server needs no access token."


def _operation(path: str, operation: Mapping[str, Any]) -> str:
    parameters = [
        (f"`{each['name']}`", each["in"], _form(each["schema"]), each.get("description", ""))
        for each in operation["parameters"]
    ]
    responses = [
        (status, _content(each), each["description"]) for status, each in sorted(operation["responses"].items())
    ]
    return (
        f"<section>\n<h2>{escape(operation['summary'])}</h2>\n<p>{_text(f'`GET {path}`')}</p>\n"
        f"{_paragraph(operation.get('description', ''))}"
        f"{_table('Parameters', ('Name', 'In', 'Form', 'Meaning'), parameters)}"
        f"{_table('Responses', ('Status', 'Content', 'Meaning'), responses)}</section>\n"
    )


def _content(response: Mapping[str, Any]) -> str:
    """The schemas of the content, as links."""
    return ", ".join(_form(each["schema"]) for each in response.get("content", {}).values())


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    fields = [
        (
            f"`{field}`",
            _form(each) + ("" if field in schema.get("required", ()) else ", optional"),
            each.get("description", ""),
        )
        for field, each in schema["properties"].items()
    ]
    return (
        f'<section id="{escape(name)}">\n<h2>{escape(name)}</h2>\n{_paragraph(schema["description"])}'
        f"{_table('Fields', ('Name', 'Form', 'Meaning'), fields)}</section>\n"
    )


def _form(schema: Mapping[str, Any]) -> str:
    """The form of a value in few words. A `#Name` becomes a link."""
    if "$ref" in schema:
        return f"#{schema['$ref'].removeprefix(_REF)}"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_form(schema['items'])}"
    types = schema.get("type", "object")
    return types if isinstance(types, str) else " or ".join(types)


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _paragraph(text: str) -> str:
    return "".join(f"<p>{_text(part)}</p>\n" for part in text.split("\n\n") if part.strip())


def _text(text: str) -> str:
    """The text with `code` and #Links marked up, and everything else escaped."""
    parts = text.split("`")
    return "".join(
        f"<code>{escape(part)}</code>" if place % 2 else " ".join(_linked(word) for word in part.split(" "))
        for place, part in enumerate(parts)
    )


def _linked(word: str) -> str:
    name = word.strip(",").removeprefix("#")
    if not word.startswith("#") or not name.isidentifier():
        return escape(word)
    return f'<a href="#{name}">{name}</a>{word.removeprefix("#" + name)}'

#!/usr/bin/python3
"""A mail server for tests: keeps each mail as a file, and refuses what the address asks it to refuse."""

import asyncio
import itertools
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

options = json.loads(sys.argv[1])
directory = options["directory"]
count = itertools.count(1)


def keep(name, text):
    path = os.path.join(directory, name)
    with open(path + "~", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + "~", path)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("refused"):
            return "550 5.1.1 nobody of that name"
        if address.startswith("later") and not os.path.exists(os.path.join(directory, "open")):
            return "451 4.2.1 not now"
        envelope.rcpt_tos.append(address)
        return "250 good"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "encrypted": session.ssl is not None or bool(options.get("implicit")),
            "user": session.auth_data.decode() if session.authenticated else "",
            "text": envelope.content.decode("utf-8"),
        }
        keep(f"{next(count):04}-{os.getpid()}.json", json.dumps(mail))
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = (options["user"].encode(), options["password"].encode())
    is_right = (data.login, data.password) == good
    # Not handled: the answer to a wrong password is the server's.
    return AuthResult(success=is_right, handled=False, auth_data=data.login)


async def main():
    context = None
    if "certificate" in options:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options["certificate"], options["key"])
    implicit = bool(options.get("implicit"))
    has_user = "user" in options

    def session():
        return SMTP(
            Handler(),
            hostname="localhost",
            enable_SMTPUTF8=True,
            tls_context=None if implicit else context,
            require_starttls=context is not None and not implicit,
            authenticator=authenticate if has_user else None,
            auth_required=has_user,
            auth_require_tls=not implicit,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        session, "127.0.0.1", options.get("port", 0), ssl=context if implicit else None
    )
    keep("port", str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


asyncio.run(main())

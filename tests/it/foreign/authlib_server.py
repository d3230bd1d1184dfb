"""Authlib's token endpoint over a store in memory.

Wiring only: client authentication, the grant, the tokens and the errors are Authlib's. The first line on stdout names
the port; then each line on stdin is a command, answered by a line on stdout. When stdin ends, so does the server.
"""

import hmac
import json
import logging
import os
import sys
from dataclasses import dataclass

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP on the loopback

from authlib.common.security import generate_token
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from flask import Flask
from werkzeug.serving import make_server

METHODS = {"basic": "client_secret_basic", "body": "client_secret_post"}


@dataclass
class Client(ClientMixin):
    client_id: str
    secret: str
    method: str
    rotates: bool

    def check_client_secret(self, secret):
        return hmac.compare_digest(self.secret.encode(), secret.encode())

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.method

    def check_grant_type(self, grant_type):
        return grant_type == "refresh_token"

    def get_allowed_scope(self, scope):
        return scope or ""


@dataclass
class Token(TokenMixin):
    client_id: str
    user: str
    access_token: str
    refresh_token: str | None
    revoked: bool = False

    def check_client(self, client):
        return self.client_id == client.client_id

    def get_scope(self):
        return "data:read"

    def is_revoked(self):
        return self.revoked


clients: dict[str, Client] = {}
tokens: list[Token] = []


class RefreshTokenGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = list(METHODS.values())

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self):
        return self.request.client.rotates

    def authenticate_refresh_token(self, refresh_token):
        live = (t for t in tokens if t.refresh_token == refresh_token and not t.revoked)
        return next(live, None)

    def authenticate_user(self, token):
        return token.user

    def revoke_old_credential(self, token):
        token.revoked = self.request.client.rotates


def save_token(token, request):
    tokens.append(
        Token(request.client.client_id, request.user, token["access_token"], token.get("refresh_token"))
    )


def register(id, secret, auth, rotates, users):
    clients[id] = Client(id, secret, METHODS[auth], rotates)
    tokens.extend(Token(id, user, generate_token(42), generate_token(48)) for user in users)


def revoke(id, users):
    for token in tokens:
        token.revoked |= token.client_id == id and token.user in users


def logins(id):
    """What the store holds for each user: the newest access token, and the refresh token that would be taken."""
    held = {}
    for token in (t for t in tokens if t.client_id == id):
        login = held.setdefault(token.user, {"refresh_token": None})
        login["access_token"] = token.access_token
        if token.refresh_token and not token.revoked:
            login["refresh_token"] = token.refresh_token
    return held


app = Flask("foreign")
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
server = AuthorizationServer(app, query_client=clients.get, save_token=save_token)
server.register_grant(RefreshTokenGrant)
app.post("/token")(server.create_token_response)
logging.getLogger("werkzeug").setLevel(logging.ERROR)

if __name__ == "__main__":
    import threading

    http = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    print(json.dumps({"port": http.server_port}), flush=True)
    commands = {"register": register, "revoke": revoke, "logins": logins}
    for line in sys.stdin:
        command, arguments = json.loads(line)
        print(json.dumps(commands[command](**arguments)), flush=True)
    os._exit(0)

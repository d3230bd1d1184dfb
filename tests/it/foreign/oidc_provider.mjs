// oidc-provider's token endpoint over a store in memory.
//
// Wiring only: client authentication, the grant, rotation, the reuse rule and the errors are oidc-provider's. The first
// line on stdout names the port; then each line on stdin is a command, answered by a line on stdout. When stdin ends,
// so does the server.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

// It prints advice for production with these.
console.info = console.warn = () => {};
const { Provider } = await import('oidc-provider');

const METHODS = { basic: 'client_secret_basic', body: 'client_secret_post' };

const stored = new Map();
const rotating = new Set();

class Adapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    stored.set(this.key(id), payload);
  }

  async find(id) {
    return stored.get(this.key(id));
  }

  async consume(id) {
    stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    stored.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of stored) {
      if (key.startsWith(`${this.model}:`) && payload.grantId === grantId) stored.delete(key);
    }
  }
}

const http = createServer();
await new Promise((listening) => http.listen(0, '127.0.0.1', listening));
const { port } = http.address();
const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: Adapter,
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  rotateRefreshToken: (ctx) => rotating.has(ctx.oidc.client.clientId),
  features: { devInteractions: { enabled: false } },
  scopes: ['openid', 'offline_access'],
  ttl: { AccessToken: 3600, RefreshToken: 14 * 86400, Grant: 14 * 86400, IdToken: 3600 },
});
provider.on('server_error', (_, error) => console.error(error));
http.on('request', provider.callback());

async function register({ id, secret, auth, rotates, users }) {
  await new Adapter('Client').upsert(id, {
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: METHODS[auth],
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: ['https://client.example/callback'],
  });
  if (rotates) rotating.add(id);
  const client = await provider.Client.find(id);
  const scope = 'openid offline_access';
  for (const accountId of users) {
    const grant = new provider.Grant({ accountId, clientId: id });
    grant.addOIDCScope(scope);
    const grantId = await grant.save();
    const login = { accountId, client, grantId, scope, gty: 'authorization_code' };
    await new provider.AccessToken(login).save();
    await new provider.RefreshToken(login).save();
  }
  return null;
}

function payloads(model, clientId) {
  return [...stored].filter(([key, it]) => key.startsWith(`${model}:`) && it.clientId === clientId);
}

async function revoke({ id, users }) {
  for (const [key, payload] of payloads('RefreshToken', id)) {
    if (users.includes(payload.accountId)) stored.delete(key);
  }
  return null;
}

// What the store holds for each user: the newest access token, and the refresh token that would be taken.
async function logins({ id }) {
  const held = {};
  for (const [, grant] of payloads('Grant', id)) held[grant.accountId] ??= {};
  for (const [, token] of payloads('AccessToken', id)) held[token.accountId].access_token = token.jti;
  for (const [, token] of payloads('RefreshToken', id)) {
    const login = (held[token.accountId] ??= {});
    if (!token.consumed) login.refresh_token = token.jti;
  }
  return held;
}

console.log(JSON.stringify({ port }));
const commands = { register, revoke, logins };
for await (const line of createInterface({ input: process.stdin })) {
  const [command, parameters] = JSON.parse(line);
  console.log(JSON.stringify(await commands[command](parameters)));
}
process.exit(0);

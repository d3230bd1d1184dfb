// A server as many teams write their own: Express, JSON Web Tokens, the refresh token in the body or in a cookie, its
// answers in an envelope and in cookies.
//
// Wiring and one rule of its own: a refresh token works once. The first line on stdout names the port; then each line on
// stdin is a command, answered by a line on stdout. When stdin ends, so does the server.

import cookieParser from 'cookie-parser';
import express from 'express';
import jwt from 'jsonwebtoken';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { commands as kinds } from './kinds.mjs';

const SECRET = randomUUID();
const COOKIES = { httpOnly: true, sameSite: 'lax' };

// The newest pair of each user of each client; and who presented a token that had been redeemed.
const clients = new Map();
const reused = [];

function issue(client, user) {
  const sign = (type, expiresIn) =>
    jwt.sign({ client, user, type }, SECRET, { expiresIn, jwtid: randomUUID() });
  const pair = { access_token: sign('access', '1h'), refresh_token: sign('refresh', '10d') };
  clients.get(client).set(user, pair);
  return pair;
}

class ApiError extends Error {
  constructor(statusCode, message) {
    super(message);
    this.statusCode = statusCode;
  }
}

// Takes the token, and gives the next pair.
function redeem(incoming) {
  if (!incoming) throw new ApiError(401, 'unauthorized request');
  let claims;
  try {
    claims = jwt.verify(incoming, SECRET);
  } catch (error) {
    throw new ApiError(401, error.message);
  }
  const newest = clients.get(claims.client)?.get(claims.user);
  if (!newest) throw new ApiError(401, 'Invalid refresh token');
  if (newest.refresh_token !== incoming) {
    if (!newest.revoked) reused.push(claims.user);
    throw new ApiError(401, 'Refresh token is expired or used');
  }
  return issue(claims.client, claims.user);
}

const app = express();
app.use(express.json(), cookieParser());

// In the body, and the answer in an envelope and in cookies.
app.post('/refresh-token', (request, response) => {
  const pair = redeem(request.cookies.refreshToken || request.body?.refreshToken);
  response
    .cookie('accessToken', pair.access_token, COOKIES)
    .cookie('refreshToken', pair.refresh_token, COOKIES)
    .json({
      statusCode: 200,
      data: { accessToken: pair.access_token, refreshToken: pair.refresh_token },
      message: 'Access token refreshed',
      success: true,
    });
});

// In a cookie, and the answer in cookies only.
app.post('/session', (request, response) => {
  const pair = redeem(request.cookies.refresh_token);
  response
    .cookie('visited', 'yes', COOKIES)
    .cookie('access_token', pair.access_token, COOKIES)
    .cookie('refresh_token', pair.refresh_token, COOKIES)
    .json({ success: true });
});

// As bearer, without a body; the answer in a header field and a body with other names.
app.post('/bearer', (request, response) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  const pair = redeem(scheme === 'Bearer' ? token : undefined);
  response.set('X-Refresh-Token', pair.refresh_token).status(201).json({ token: { value: pair.access_token } });
});

// In the URL, or in a header field of its own.
app.get('/other', (request, response) => {
  const pair = redeem(request.query.token || request.headers['x-refresh-token']);
  response.json({ accessToken: pair.access_token, refreshToken: pair.refresh_token });
});

app.use((error, request, response, next) => {
  const status = error.statusCode ?? 500;
  response.status(status).json({ statusCode: status, data: null, message: error.message, success: false, errors: [] });
});

function register({ id, users }) {
  clients.set(id, new Map());
  for (const user of users) issue(id, user);
  return null;
}

function revoke({ id, users }) {
  for (const user of users) clients.get(id).set(user, { access_token: '', refresh_token: null, revoked: true });
  return null;
}

const logins = ({ id }) => Object.fromEntries(clients.get(id));

const listening = app.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ port: listening.address().port }));
});
const commands = { register, revoke, logins, reused: () => reused, ...kinds };
for await (const line of createInterface({ input: process.stdin })) {
  const [command, parameters] = JSON.parse(line);
  console.log(JSON.stringify(await commands[command](parameters)));
}
process.exit(0);

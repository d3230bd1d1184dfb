// Five kinds of servers as teams write them, each an application with a port of its own, over a collection in the
// MongoDB of the tests. What each has granted, and who presented a token that had been replaced, is in its ledger.

import cookieParser from 'cookie-parser';
import express from 'express';
import jwt from 'jsonwebtoken';
import mongoose from 'mongoose';
import { randomUUID } from 'node:crypto';

const { Schema, Types } = mongoose;
const SECRET = randomUUID();
const HOUR = 3600;
const DAY = 24 * HOUR;

const now = () => Math.floor(Date.now() / 1000);
// Signed so long ago that another one is another text.
const sign = (claims, life, more = {}) => jwt.sign({ iat: now() - 2 * DAY, exp: now() + life, ...claims }, SECRET, more);
const bearer = (request) => /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];

// Who got how many grants; who presented what was replaced; how often a token was refused.
function newLedger() {
  return { granted: {}, reused: [], refused: 0, newest: {} };
}

function grant(ledger, user, newest) {
  ledger.granted[user] = (ledger.granted[user] ?? 0) + 1;
  if (newest) ledger.newest[user] = newest;
}

const everyone = (count, make) => Array.from({ length: count }, (_, index) => make(index));

// Autodesk's way: RFC 6749 with Basic, each token once; a collection of the team's.
function autodesk(app, model, ledger) {
  const Login = model('token', { userId: String, email: String, access_token: String, refresh_token: String });
  const newest = new Map();
  const issue = (user) => {
    const pair = { access_token: randomUUID(), refresh_token: randomUUID() };
    newest.set(pair.refresh_token, user);
    return pair;
  };
  const used = new Map();
  const refuse = (response, status, error) => {
    ledger.refused += 1;
    response.status(status).json({ error, error_description: 'The request was not granted' });
  };
  app.post('/token', express.urlencoded(), (request, response) => {
    if (request.headers.authorization !== `Basic ${Buffer.from('the-client:the-secret').toString('base64')}`) {
      return refuse(response, 401, 'invalid_client');
    }
    const { grant_type: type, refresh_token: token } = request.body ?? {};
    if (type !== 'refresh_token') return refuse(response, 400, 'unsupported_grant_type');
    if (used.has(token)) ledger.reused.push(used.get(token));
    const user = newest.get(token);
    if (user === undefined) return refuse(response, 400, 'invalid_grant');
    newest.delete(token);
    used.set(token, user);
    const pair = issue(user);
    grant(ledger, user, pair.refresh_token);
    response.json({ ...pair, token_type: 'Bearer', expires_in: 3599 });
  });
  const login = (user, pair) => ({ userId: user, email: `${user}@example.com`, ...pair });
  return (count) => Login.insertMany([
    ...everyone(count, (index) => login(`user-${index}`, issue(`user-${index}`))),
    ...everyone(2, (index) => login(`unknown-${index}`, { access_token: 'a', refresh_token: randomUUID() })),
    login('empty-0', { access_token: 'a', refresh_token: '' }),
  ]);
}

// A collection of refresh tokens, each with its end; the server deletes one that has ended when it is asked for it.
function expressJwt(app, model, ledger) {
  const RefreshToken = model('RefreshToken', {
    token: String,
    user: { type: Schema.Types.ObjectId, ref: 'User' },
    expiryDate: Date,
  });
  const refuse = (response, message) => {
    ledger.refused += 1;
    response.status(403).json({ message });
  };
  app.post('/api/auth/refreshtoken', express.json(), async (request, response) => {
    const token = request.body?.refreshToken;
    if (token == null) return refuse(response, 'Refresh Token is required!');
    try {
      const found = await RefreshToken.findOne({ token });
      if (!found) return refuse(response, 'Refresh token is not in database!');
      if (found.expiryDate.getTime() < Date.now()) {
        await RefreshToken.deleteOne({ _id: found._id });
        return refuse(response, 'Refresh token was expired. Please make a new signin request');
      }
      grant(ledger, found.user.toString(), token);
      response.json({ accessToken: jwt.sign({ id: found.user }, SECRET, { expiresIn: HOUR }), refreshToken: token });
    } catch (error) {
      response.status(500).json({ message: error });
    }
  });
  const login = (life, token = randomUUID()) =>
    ({ token, user: new Types.ObjectId(), expiryDate: new Date((now() + life) * 1000) });
  return async (count) => {
    await RefreshToken.createIndexes();
    await RefreshToken.collection.createIndex({ token: 1 });
    return RefreshToken.insertMany([
      ...everyone(count, (index) => login(DAY - index)),
      ...everyone(3, (index) => login(-HOUR - index)),
      login(DAY, null),
    ]);
  };
}

// Sessions: the refresh token as bearer, an empty body, a new access token and nothing else.
function bearerSession(app, model, ledger) {
  const Session = model('session', { userId: String, access_token: String, refresh_token: String });
  const users = new Set();
  const refuse = (response, error, code) => {
    ledger.refused += 1;
    response.status(401).json({ error, ...(code && { error_code: code }) });
  };
  app.post('/auth/session', (request, response) => {
    const token = bearer(request);
    if (!token) return refuse(response, 'must authenticate first', 'MissingAuthReq');
    let claims;
    try {
      claims = jwt.verify(token, SECRET);
    } catch (error) {
      if (error.name === 'TokenExpiredError') return refuse(response, 'invalid session', 'InvalidSession');
      return refuse(response, `invalid refresh token: ${error.message}`);
    }
    if (!users.has(claims.sub)) return refuse(response, 'user not found', 'UserNotFound');
    grant(ledger, claims.sub, token);
    response.status(201).json({ access_token: jwt.sign({ sub: claims.sub }, SECRET, { expiresIn: HOUR / 2 }) });
  });
  const session = (userId, refresh_token) => ({ userId, access_token: 'old', refresh_token });
  const signed = (userId, life) => session(userId, sign({ sub: userId }, life));
  return (count) => {
    everyone(count, (index) => users.add(`user-${index}`));
    return Session.insertMany([
      ...everyone(count, (index) => signed(`user-${index}`, 60 * DAY)),
      ...everyone(2, (index) => signed(`ended-${index}`, -HOUR)),
      signed('unknown-0', 60 * DAY),
      session('malformed-0', 'not-a-token'),
      session('empty-0', ''),
    ]);
  };
}

// Two signed texts, kept nowhere; the old access token goes along. Errors are Express's own pages.
function jwtPair(app, model, ledger) {
  const Account = model('account', { name: String, tokens: { access: String, refresh: String } });
  const pair = (sub, iat, life) => ({
    access: jwt.sign({ sub, iat, exp: now() + HOUR }, SECRET),
    refresh: jwt.sign({ sub, iat, exp: now() + life }, SECRET),
  });
  app.post('/auth/login', express.json(), (request, response, next) => {
    try {
      const { grant_type: type, refresh_token: token } = request.body;
      if (type !== 'refresh_token') throw new Error('no password');
      const old = jwt.verify(bearer(request) ?? '', SECRET, { ignoreExpiration: true });
      const { sub } = jwt.verify(token, SECRET);
      if (old.sub !== sub) throw new Error('the pair is none');
      const { access, refresh } = pair(sub, now(), 30 * DAY);
      grant(ledger, sub, refresh);
      // The same server, as its client is set up: the property, a name in it, a root and a name in it.
      const shapes = [refresh, { token: refresh }, { data: { token: refresh } }];
      response.json({ access_token: access, refresh_token: shapes[ledger.granted[sub] && Number(sub.split('-')[1]) % 3] });
    } catch (error) {
      ledger.refused += 1;
      next(error);
    }
  });
  const account = (name, tokens) => ({ name, tokens });
  const old = (name, life) => account(name, pair(name, now() - 2 * DAY, life));
  return (count) => Account.insertMany([
    ...everyone(count, (index) => old(`user-${index}`, 10 * DAY)),
    ...everyone(2, (index) => old(`ended-${index}`, -HOUR)),
    account('malformed-0', { ...old('malformed-0', DAY).tokens, refresh: 'not-a-token' }),
    account('half-0', { refresh: old('half-0', DAY).tokens.refresh }),
  ]);
}

// The users' own documents; the server writes each new refresh token into them before it answers.
function cookieSession(app, model, ledger) {
  const User = model('User', { username: { type: String, required: true }, email: String, refreshToken: String });
  const COOKIES = { httpOnly: true, secure: true };
  const fail = (status, message) => {
    throw Object.assign(new Error(message), { status });
  };
  app.post('/refresh-token', express.json(), cookieParser(), async (request, response) => {
    const incoming = request.cookies.refreshToken || request.body?.refreshToken;
    if (!incoming) fail(401, 'unauthorized request');
    let claims;
    try {
      claims = jwt.verify(incoming, SECRET);
    } catch (error) {
      fail(401, error.message);
    }
    const user = await User.findById(claims._id);
    if (!user) fail(401, 'Invalid refresh token');
    if (user.refreshToken !== incoming) {
      ledger.reused.push(user.username);
      fail(401, 'Refresh token is expired or used');
    }
    const accessToken = jwt.sign({ _id: user._id, username: user.username }, SECRET, { expiresIn: DAY });
    // No random part: two within one second are the same text.
    const refreshToken = jwt.sign({ _id: user._id }, SECRET, { expiresIn: 10 * DAY });
    user.refreshToken = refreshToken;
    await user.save({ validateBeforeSave: false });
    grant(ledger, user.username, refreshToken);
    const isInCookiesOnly = user.username.endsWith('7');
    response
      .cookie('accessToken', accessToken, COOKIES)
      .cookie('refreshToken', refreshToken, COOKIES)
      .json({
        statusCode: 200,
        data: isInCookiesOnly ? {} : { accessToken, refreshToken },
        message: 'Access token refreshed',
        success: true,
      });
  });
  app.use((error, request, response, next) => {
    ledger.refused += 1;
    const { status = 500, message } = error;
    response.status(status).json({ statusCode: status, data: null, message, success: false, errors: [] });
  });
  const user = (username, claims, life = 10 * DAY) => {
    const _id = new Types.ObjectId();
    const refreshToken = typeof claims === 'string' ? claims : sign({ _id, ...claims }, life);
    return { _id, username, email: `${username}@example.com`, refreshToken };
  };
  return (count) => User.insertMany([
    ...everyone(count, (index) => user(`user-${index}`)),
    ...everyone(2, (index) => user(`ended-${index}`, {}, -HOUR)),
    user('unknown-0', { _id: new Types.ObjectId() }),
    user('malformed-0', 'not-a-token'),
    user('empty-0', ''),
  ]);
}

const KINDS = {
  autodesk,
  'express-jwt': expressJwt,
  'bearer-session': bearerSession,
  'jwt-pair': jwtPair,
  'cookie-session': cookieSession,
};
const open = new Map();

export const commands = {
  // Starts a server of this kind over a database of its own, which gets so many living users and some others.
  async open({ kind, uri, database, users, production }) {
    const connection = await mongoose.createConnection(uri, { dbName: database }).asPromise();
    const app = express();
    // `test` is `development` without a line on stderr for each error.
    app.set('env', production ? 'production' : 'test');
    const ledger = newLedger();
    const model = (name, fields) => connection.model(name, new Schema(fields));
    const documents = await KINDS[kind](app, model, ledger)(users);
    const listening = await new Promise((resolve) => {
      const server = app.listen(0, '127.0.0.1', () => resolve(server));
    });
    open.set(database, { connection, listening, ledger });
    return { port: listening.address().port, documents: documents.length };
  },
  ledger: ({ database }) => open.get(database).ledger,
  async close({ database }) {
    const { connection, listening } = open.get(database);
    listening.close();
    listening.closeAllConnections();
    await connection.dropDatabase();
    await connection.close();
    open.delete(database);
    return null;
  },
};

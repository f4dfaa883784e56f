// What the tests stand on: a real Redis, and webhooks signed by course-runner's own Python code.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Redis } from 'ioredis';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const VENV = join(REPOSITORY, '.venv/bin/python');
const PYTHON = process.env.PYTHON || (existsSync(VENV) ? VENV : 'python3');

const SIGN = `
import json, sys
from contract import webhook
asked = json.load(sys.stdin)
event = webhook.Event(**asked["event"])
payload = webhook.body(event, asked["secret"])
key = webhook.signing_key(asked["key"])
headers = webhook.headers(event, payload, key, now=asked["now"])
json.dump({"body": payload.hex(), "headers": dict(headers)}, sys.stdout)
`;

export const SECRET = 'body-secret';
export const KEY = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

// A webhook as course-runner sends it at Unix second `now`: `body` (bytes) and `headers`.
export function signed(event, { secret = SECRET, key = KEY, now = Math.floor(Date.now() / 1000) } = {}) {
  const input = JSON.stringify({ event, secret, key, now });
  const said = JSON.parse(execFileSync(PYTHON, ['-c', SIGN], { cwd: REPOSITORY, input }));
  return { body: Buffer.from(said.body, 'hex'), headers: said.headers };
}

// A Redis of this test's own, or an empty database of TEST_REDIS_URL. Call `end` when done.
export async function redisServer() {
  if (process.env.TEST_REDIS_URL) return { url: process.env.TEST_REDIS_URL, end: () => {} };
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'backend-test-'));
  const words = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--dir', folder];
  const server = spawn('redis-server', words, { stdio: 'ignore' });
  server.on('error', () => {
    throw new Error('There is no redis-server; install one, or set TEST_REDIS_URL.');
  });
  const end = () => {
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  return { url: `redis://127.0.0.1:${port}/0`, end };
}

export function connect(url) {
  return new Redis(url, { maxRetriesPerRequest: 20 }).on('error', () => {}); // it may be starting
}

function freePort() {
  return new Promise((resolve) => {
    const listener = createServer().listen(0, '127.0.0.1', () => {
      const { port } = listener.address();
      listener.close(() => resolve(port));
    });
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BadSettings, settingsFrom } from '../src/settings.js';
import { Refused, verified, WINDOW } from '../src/verify.js';
import { KEY, SECRET, signed } from './support.js';

const NOW = 1768233700;
const EVENT = { task_id: 999, folder_name: 'test-course', timestamp: 1768233600 };
const { signingKey, signatureHeader } = settingsFrom({
  REDIS_URL: 'redis://x',
  API_SECRET_KEY: SECRET,
  WEBHOOK_SIGNING_KEY: KEY,
});

// The headers as Node gives them, with some changed; undefined takes one away.
function headersOf({ headers }, changed = {}) {
  const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
  return { ...Object.fromEntries(lower), ...changed };
}

function check(webhook, { headers = {}, body = webhook.body, now = NOW } = {}) {
  const keys = { secret: SECRET, signingKey, signatureHeader, now };
  return verified(body, headersOf(webhook, headers), keys);
}

function refused(status, words, act) {
  assert.throws(act, (error) => {
    assert.ok(error instanceof Refused, String(error));
    assert.equal(error.status, status);
    assert.match(error.message, words);
    return true;
  });
}

test('a webhook that course-runner signs is genuine', () => {
  const event = check(signed(EVENT, { now: NOW }));
  assert.deepEqual(event, {
    id: '999:completed:1768233600',
    taskId: '999',
    folder: 'test-course',
    timestamp: 1768233600,
    status: 'completed',
    error: '',
  });
});

test('so it is with letters of any script, ids that are no plain text, and a failure', () => {
  const folder = 'Kurs für Anfänger — 日本語 🎓 \u2028 "\\/';
  const event = { task_id: 'a/1.b', folder_name: folder, timestamp: 1, status: 'failed', error: 'ü' };
  const found = check(signed(event, { now: NOW }));
  assert.match(found.id, /^[0-9a-f]{64}$/);
  assert.deepEqual([found.taskId, found.folder, found.status, found.error], ['a/1.b', folder, 'failed', 'ü']);
});

test('every changed byte is noticed', () => {
  const webhook = signed(EVENT, { now: NOW });
  for (let place = 0; place < webhook.body.length; place += 1) {
    const body = Buffer.from(webhook.body);
    body[place] ^= 1;
    refused(401, /signature/, () => check(webhook, { body }));
  }
  refused(401, /signature/, () => check(webhook, { body: Buffer.concat([webhook.body, Buffer.from(' ')]) }));
});

test('each proof is needed, and a wrong one is refused', () => {
  const webhook = signed(EVENT, { now: NOW });
  for (const name of ['x-signature', 'webhook-id', 'webhook-timestamp', 'webhook-signature']) {
    refused(401, /missing/, () => check(webhook, { headers: { [name]: undefined } }));
  }
  refused(401, /signature is wrong/, () => check(webhook, { headers: { 'x-signature': 'sha256=00' } }));
  refused(401, /webhook-signature is wrong/, () => check(webhook, { headers: { 'webhook-signature': 'v1,AA==' } }));
  refused(401, /webhook-signature is wrong/, () => check(webhook, { headers: { 'webhook-id': 'another' } }));
  refused(401, /webhook-signature is wrong/, () =>
    check(webhook, { headers: { 'webhook-timestamp': String(NOW + 1) } }));
  refused(401, /no time/, () => check(webhook, { headers: { 'webhook-timestamp': 'soon' } }));
});

test('one right signature among several is enough, so that keys can be changed', () => {
  const webhook = signed(EVENT, { now: NOW });
  const several = `v1,AAAA v2,x ${webhook.headers['webhook-signature']}`;
  assert.equal(check(webhook, { headers: { 'webhook-signature': several } }).taskId, '999');
});

test('a webhook outside the window is refused, one at its edge is not', () => {
  const webhook = signed(EVENT, { now: NOW });
  for (const away of [WINDOW, -WINDOW]) assert.ok(check(webhook, { now: NOW + away }));
  for (const away of [WINDOW + 1, -WINDOW - 1]) {
    refused(401, /webhook-timestamp/, () => check(webhook, { now: NOW + away }));
  }
});

test('a wrong key is refused, and so are a wrong and a missing secret under the right key', () => {
  refused(401, /signature is wrong/, () => check(signed(EVENT, { now: NOW, key: 'whsec_AAAA' })));
  refused(401, /secret_key is wrong/, () => check(signed(EVENT, { now: NOW, secret: 'no' })));
  refused(400, /missing secret_key/, () => check(signed(EVENT, { now: NOW, secret: null })));
});

test('a field of a wrong kind is named', () => {
  refused(400, /task_id/, () => check(signed({ ...EVENT, task_id: 1.5 }, { now: NOW })));
  refused(400, /folder_name/, () => check(signed({ ...EVENT, folder_name: null }, { now: NOW })));
  refused(400, /timestamp/, () => check(signed({ ...EVENT, timestamp: 'x' }, { now: NOW })));
});

test('all faults of the settings are told together', () => {
  assert.throws(
    () => settingsFrom({ PORT: 'x', STATE: '/nowhere', WEBHOOK_SIGNING_KEY: 'whsec_*' }),
    (error) => {
      assert.ok(error instanceof BadSettings);
      const named = error.faults.map((fault) => fault.split(' ')[0]);
      assert.deepEqual(named, ['PORT', 'API_SECRET_KEY', 'REDIS_URL', 'WEBHOOK_SIGNING_KEY']);
      return true;
    },
  );
});

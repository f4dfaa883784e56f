// Is this webhook genuine? Pure: the bytes as they came, the headers, the keys and the time in; the
// event out, or `Refused` with the status to answer.
//
// Everything is checked over the raw bytes. Parsing and writing JSON again may give other bytes, and
// then a right signature looks wrong, or the other way round.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

// Seconds that a delivery may be old, or ahead of this clock: what Standard Webhooks recommends.
export const WINDOW = 300;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function verified(raw, headers, { secret, signingKey, signatureHeader, now }) {
  checkSignature(raw, headers[signatureHeader.toLowerCase()], signingKey);
  const id = checkStandard(raw, headers, signingKey, now);
  const event = read(raw);
  if (event.secret_key === undefined) throw new Refused(400, 'missing secret_key');
  if (!same(digest(String(event.secret_key)), digest(secret))) {
    throw new Refused(401, 'secret_key is wrong');
  }
  return { id, ...fieldsOf(event) };
}

function checkSignature(raw, given, key) {
  if (!given) throw new Refused(401, 'the signature header is missing');
  const want = `sha256=${createHmac('sha256', key).update(raw).digest('hex')}`;
  if (!same(Buffer.from(given), Buffer.from(want))) throw new Refused(401, 'the signature is wrong');
}

// https://www.standardwebhooks.com: v1 is the HMAC of "<id>.<timestamp>.<body>".
function checkStandard(raw, headers, key, now) {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  const signatures = headers['webhook-signature'];
  if (!id || !timestamp || !signatures) throw new Refused(401, 'a webhook-… header is missing');
  if (!/^\d{1,15}$/.test(timestamp)) throw new Refused(401, 'webhook-timestamp is no time');
  const hmac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(raw);
  const want = Buffer.from(`v1,${hmac.digest('base64')}`);
  // Several are allowed, so that a key can be changed without a gap.
  const genuine = signatures.split(' ').map((one) => same(Buffer.from(one), want));
  if (!genuine.includes(true)) throw new Refused(401, 'webhook-signature is wrong');
  if (Math.abs(now - Number(timestamp)) > WINDOW) {
    throw new Refused(401, `webhook-timestamp is more than ${WINDOW} s away from this clock`);
  }
  return id;
}

function read(raw) {
  let event;
  try {
    event = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
  } catch {
    throw new Refused(400, 'the body is no JSON');
  }
  if (event === null || typeof event !== 'object') throw new Refused(400, 'the body is no object');
  return event;
}

function fieldsOf({ task_id: taskId, folder_name: folder, timestamp, status, error }) {
  const isId = Number.isSafeInteger(taskId) || (typeof taskId === 'string' && taskId !== '');
  if (!isId) throw new Refused(400, 'task_id must be a whole number or a text');
  if (typeof folder !== 'string') throw new Refused(400, 'folder_name must be a text');
  if (!Number.isSafeInteger(timestamp)) throw new Refused(400, 'timestamp must be Unix seconds');
  // Without `status` it is a success: failures are announced only with WEBHOOK_FAILURE_EVENTS.
  return { taskId: String(taskId), folder, timestamp, status: status ?? 'completed', error: error ?? '' };
}

const digest = (text) => createHash('sha256').update(text, 'utf8').digest();

// In constant time. Lengths may show: those of a signature are known, secrets come as digests.
const same = (a, b) => a.length === b.length && timingSafeEqual(a, b);

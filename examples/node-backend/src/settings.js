// Settings: the environment in, one frozen object out. All faults are told together.
//
// The queue's address is REDIS_URL, or what `course-runner local` has written into its state folder
// (STATE, by default .course-runner of the folder this was started from).

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export class BadSettings extends Error {
  constructor(faults) {
    super(faults.join('\n'));
    this.faults = faults;
  }
}

export function settingsFrom(environment) {
  const faults = [];
  const port = Number(environment.PORT ?? 3000);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    faults.push(`PORT is ${environment.PORT}; it must be a port, or 0 for any free one.`);
  }
  const secret = environment.API_SECRET_KEY ?? '';
  if (!secret) {
    faults.push('API_SECRET_KEY is not set; give this and course-runner the same text.');
  }
  const redisUrl = environment.REDIS_URL || addressIn(environment.STATE || '.course-runner', faults);
  const signingKey = keyFrom(environment.WEBHOOK_SIGNING_KEY || secret, faults);
  if (faults.length > 0) throw new BadSettings(faults);
  return Object.freeze({
    host: environment.HOST || '127.0.0.1',
    port,
    redisUrl,
    queue: environment.QUEUE || 'rq:queue:downloads',
    secret,
    signingKey,
    signatureHeader: environment.WEBHOOK_SIGNATURE_HEADER || 'X-Signature',
    ownSigningKey: Boolean(environment.WEBHOOK_SIGNING_KEY),
  });
}

function addressIn(state, faults) {
  const file = join(state, 'redis.url');
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  faults.push(`REDIS_URL is not set, and ${file} is not there; is \`course-runner local\` running?`);
  return '';
}

// `whsec_` and base64 is how Standard Webhooks writes keys; any other text is its own UTF-8 bytes.
function keyFrom(text, faults) {
  if (!text.startsWith('whsec_')) return Buffer.from(text, 'utf8');
  const encoded = text.slice('whsec_'.length);
  const key = Buffer.from(encoded, 'base64');
  if (key.length === 0 || key.toString('base64') !== encoded) {
    faults.push('WEBHOOK_SIGNING_KEY begins with whsec_, but no base64 follows.');
  }
  return key;
}

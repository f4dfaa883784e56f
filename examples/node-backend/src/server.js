// The backend as a process: settings in, a server until SIGTERM or SIGINT.

import { once } from 'node:events';

import { Redis } from 'ioredis';

import { appOf } from './app.js';
import { Events } from './events.js';
import { Orders } from './orders.js';
import { BadSettings, settingsFrom } from './settings.js';

const log = (text) => console.log(`[backend] ${text}`);

function settings() {
  try {
    return settingsFrom(process.env);
  } catch (error) {
    if (!(error instanceof BadSettings)) throw error;
    for (const fault of error.faults) console.error(`backend: ${fault}`);
    process.exit(64);
  }
}

function connect(url) {
  // Two tries, then an error: a webhook is better answered 503, and tried again, than kept hanging.
  const redis = new Redis(url, { maxRetriesPerRequest: 2, commandTimeout: 10_000 });
  redis.on('error', (error) => log(`Redis: ${error.message}`));
  return redis;
}

async function main() {
  const chosen = settings();
  if (!chosen.ownSigningKey) {
    log('WEBHOOK_SIGNING_KEY is not set: the key is API_SECRET_KEY, which every body reveals.');
  }
  const redis = connect(chosen.redisUrl);
  const events = new Events(connect(chosen.redisUrl));
  const orders = new Orders(redis, chosen.queue);
  const server = appOf({ orders, events, settings: chosen, log }).listen(chosen.port, chosen.host);
  await once(server, 'listening');
  const reading = events.run(log);
  log(`The page: http://${chosen.host}:${server.address().port}/`);

  await Promise.race(['SIGTERM', 'SIGINT'].map((signal) => once(process, signal)));
  events.stop();
  server.close();
  server.closeAllConnections();
  await reading;
  redis.disconnect();
}

await main();

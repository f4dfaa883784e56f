// The backend's own records of its orders, and the push onto course-runner's list.
//
// A real backend has a table for this; here it is a hash per order in the same Redis, so that the
// record and the push, and later the webhook's effect and its id, are each one step.

import { readFileSync } from 'node:fs';

import { Ajv2020 } from 'ajv/dist/2020.js';

const SCHEMA = new URL('../../../docs/message.schema.json', import.meta.url);
const REMEMBER = 30 * 86400; // seconds that a webhook's id is remembered; retries come within days

// Returns 1 for news, 0 for what was delivered before. The id and its effect are one step: a crash
// in between would either lose the effect or repeat it.
const DELIVERED = `
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
  redis.call('HSET', KEYS[2], 'state', ARGV[2], 'folder', ARGV[3], 'error', ARGV[4], 'announced', ARGV[5])
  redis.call('HINCRBY', KEYS[2], 'webhooks', 1)
  return 1
end
return 0`;

export class BadOrder extends Error {}

export class Orders {
  constructor(redis, queue) {
    this.redis = redis;
    this.queue = queue;
    redis.defineCommand('delivered', { numberOfKeys: 2, lua: DELIVERED });
    const ajv = new Ajv2020({ allowUnionTypes: true });
    this.fits = ajv.compile(JSON.parse(readFileSync(SCHEMA, 'utf8')));
  }

  // Record and push an order; returns its id. Throws `BadOrder` with what is wrong.
  async place(wish) {
    const taskId = await this.redis.incr('backend:ids');
    const message = { ...wish, taskId };
    if (!this.fits(message)) {
      const [fault] = this.fits.errors;
      throw new BadOrder(`${fault.instancePath.slice(1) || 'the order'} ${fault.message}`);
    }
    const said = await this.redis
      .multi()
      .hset(key(taskId), { id: taskId, courseUrl: message.courseUrl, state: 'ordered' })
      .rpush('backend:orders', taskId)
      .lpush(this.queue, JSON.stringify(message))
      .exec();
    const failed = said.find(([error]) => error);
    if (failed) throw failed[0];
    return taskId;
  }

  // Take note of a webhook; false when it was taken note of before.
  async deliver({ id, taskId, folder, status, error, timestamp }) {
    const seen = `backend:webhook:${id}`;
    return (await this.redis.delivered(seen, key(taskId), REMEMBER, status, folder, error, timestamp)) === 1;
  }

  async ids() {
    return this.redis.lrange('backend:orders', 0, -1);
  }

  // Whether an order is this backend's; false too while Redis is away.
  async has(id) {
    return (await this.redis.exists(key(id)).catch(() => 0)) === 1;
  }

  // One order with course-runner's own word on it, or null.
  async look(id) {
    const [order, board] = await Promise.all([
      this.redis.hgetall(key(id)),
      this.redis.hgetall(`course-runner:task:${id}`),
    ]);
    return Object.keys(order).length > 0 ? { ...order, progress: shown(board) } : null;
  }
}

// What of the board a customer may see: the account's address is none of it.
const SHOWN = ['status', 'phase', 'percent', 'bytes', 'total_bytes', 'attempt', 'message', 'obstacle'];

export function shown(fields) {
  return Object.fromEntries(SHOWN.filter((name) => fields[name]).map((name) => [name, fields[name]]));
}

const key = (id) => `backend:order:${id}`;

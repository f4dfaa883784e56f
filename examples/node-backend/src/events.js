// Live progress: course-runner's stream of events, read once for all pages that watch.
//
// A blocking read holds its connection, so it has one of its own. Events are hints: whoever connects
// (again) reads the orders whole first, so what was missed meanwhile does no harm.

import { EventEmitter } from 'node:events';

import { shown } from './orders.js';

const STREAM = 'course-runner:events';
const BLOCK = 2000; // milliseconds of one read
const PAUSE = 1000; // milliseconds after a failed one

export class Events extends EventEmitter {
  constructor(redis) {
    super();
    this.setMaxListeners(0);
    this.redis = redis;
    this.over = false;
  }

  // Read until `stop`; resolves when the last read has ended.
  async run(log) {
    let last = '$';
    while (!this.over) {
      try {
        last = await this.#read(last);
      } catch (error) {
        if (this.over) return;
        log(`The stream of events cannot be read: ${error.message}. Trying again.`);
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  }

  stop() {
    this.over = true;
    this.redis.disconnect();
  }

  async #read(last) {
    const answer = await this.redis.xread('COUNT', 500, 'BLOCK', BLOCK, 'STREAMS', STREAM, last);
    // `$` means "from now on" at every read: what comes between two reads would be lost.
    if (answer === null) return last === '$' ? await this.#newest() : last;
    for (const [id, pairs] of answer[0][1]) {
      const fields = {};
      for (let i = 0; i < pairs.length; i += 2) fields[pairs[i]] = pairs[i + 1];
      this.emit('event', { id: fields.task, progress: shown(fields) });
      last = id;
    }
    return last;
  }

  async #newest() {
    const [entry] = await this.redis.xrevrange(STREAM, '+', '-', 'COUNT', 1);
    return entry ? entry[0] : '0';
  }
}

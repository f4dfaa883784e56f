import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { appOf } from '../src/app.js';
import { Events } from '../src/events.js';
import { Orders } from '../src/orders.js';
import { settingsFrom } from '../src/settings.js';
import { connect, KEY, redisServer, SECRET, signed } from './support.js';

const QUEUE = `queue-${process.pid}`;
const COURSE = 'https://www.udemy.com/course/test-course/';
let redisHome, redis, events, reading, server, base;

before(async () => {
  redisHome = await redisServer();
  redis = connect(redisHome.url);
  events = new Events(connect(redisHome.url));
  const settings = settingsFrom({
    REDIS_URL: redisHome.url,
    API_SECRET_KEY: SECRET,
    WEBHOOK_SIGNING_KEY: KEY,
    QUEUE,
  });
  const orders = new Orders(redis, settings.queue);
  reading = events.run(() => {});
  server = appOf({ orders, events, settings, log: () => {} }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${server.address().port}`;
});

after(async () => {
  events.stop();
  await reading;
  server.closeAllConnections();
  server.close();
  redis.disconnect();
  redisHome.end();
});

async function order(wish) {
  const answer = await fetch(`${base}/api/orders`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(wish),
  });
  return { status: answer.status, ...(await answer.json()) };
}

async function post({ body, headers }) {
  const answer = await fetch(`${base}/webhook`, { method: 'POST', body, headers });
  return { status: answer.status, ...(await answer.json()) };
}

const look = async (id) => (await fetch(`${base}/api/orders/${id}`)).json();

test('an order lies on the list as course-runner reads it, oldest at the right', async () => {
  const first = await order({ courseUrl: COURSE, email: 'test@example.com' });
  const second = await order({ courseUrl: COURSE, quality: 720, captions: ['en', 'de'] });
  assert.deepEqual([first.status, second.status], [201, 201]);
  const items = (await redis.lrange(QUEUE, 0, -1)).map((item) => JSON.parse(item));
  assert.deepEqual(items[1], { courseUrl: COURSE, email: 'test@example.com', taskId: first.id });
  assert.deepEqual(items[0], { courseUrl: COURSE, quality: 720, captions: ['en', 'de'], taskId: second.id });
});

test('what is no order is refused by the schema, names the field, and is not pushed', async () => {
  const before = await redis.llen(QUEUE);
  for (const [wish, field] of [
    [{ courseUrl: 'ftp://x/y' }, /courseUrl/],
    [{}, /courseUrl/],
    [{ courseUrl: COURSE, volumeSize: 20 }, /volumeSize/],
    [{ courseUrl: COURSE, email: 'a\nb' }, /email/],
  ]) {
    const said = await order(wish);
    assert.equal(said.status, 400);
    assert.match(said.error, field);
  }
  assert.equal(await redis.llen(QUEUE), before);
});

test('a caller cannot choose the id', async () => {
  const { id } = await order({ courseUrl: COURSE, taskId: 'mine' });
  assert.equal(JSON.parse(await redis.lindex(QUEUE, 0)).taskId, id);
});

test('a webhook completes its order once, however often it comes', async () => {
  const { id } = await order({ courseUrl: COURSE });
  const event = { task_id: id, folder_name: 'test-course', timestamp: 1768233600 };
  const first = await post(signed(event));
  const again = await Promise.all([post(signed(event)), post(signed(event)), post(signed(event))]);
  assert.deepEqual(first, { status: 200, received: true, duplicate: false });
  for (const one of again) assert.deepEqual(one, { status: 200, received: true, duplicate: true });
  const { state, folder, webhooks } = await look(id);
  assert.deepEqual([state, folder, webhooks], ['completed', 'test-course', '1']);
});

test('a failure is told with its reason', async () => {
  const { id } = await order({ courseUrl: COURSE });
  const event = { task_id: id, folder_name: '', timestamp: 1, status: 'failed', error: 'token expired' };
  assert.equal((await post(signed(event))).status, 200);
  const { state, error } = await look(id);
  assert.deepEqual([state, error], ['failed', 'token expired']);
});

test('a forged, an old and a cut webhook change nothing', async () => {
  const { id } = await order({ courseUrl: COURSE });
  const event = { task_id: id, folder_name: 'x', timestamp: 1768233600 };
  const genuine = signed(event);
  const old = signed(event, { now: Math.floor(Date.now() / 1000) - 3600 });
  const statuses = [
    (await post(signed(event, { key: 'other' }))).status,
    (await post(signed(event, { secret: 'other' }))).status,
    (await post(signed(event, { secret: null }))).status,
    (await post(old)).status,
    (await post({ ...genuine, body: genuine.body.subarray(0, -1) })).status,
    (await post({ ...genuine, body: Buffer.alloc(0) })).status,
  ];
  assert.deepEqual(statuses, [401, 401, 400, 401, 401, 401]);
  assert.equal((await look(id)).state, 'ordered');
});

test('a body larger than any webhook is refused unread', async () => {
  assert.equal((await post({ body: Buffer.alloc(100_000), headers: {} })).status, 413);
});

test('progress comes over the open stream, for own orders only, without the account', async () => {
  const { id } = await order({ courseUrl: COURSE, email: 'private@example.com' });
  const answer = await fetch(`${base}/api/events`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const progress = { phase: 'fetch', percent: '12.5', email: 'private@example.com' };
  let text = '';
  // The reader of the stream may still be finding its place: say it until it is heard.
  const saying = setInterval(async () => {
    await redis.xadd('course-runner:events', '*', 'task', 'of-others', 'percent', '1');
    await redis.xadd('course-runner:events', '*', 'task', id, ...Object.entries(progress).flat());
  }, 50);
  while (!text.includes('data: ')) text += (await reader.read()).value;
  clearInterval(saying);
  await reader.cancel();
  const [line] = text.split('\n').filter((each) => each.startsWith('data: '));
  const heard = { id: String(id), progress: { phase: 'fetch', percent: '12.5' } };
  assert.deepEqual(JSON.parse(line.slice('data: '.length)), heard);
  assert.ok(!text.includes('of-others') && !text.includes('private'));
});

test('the hash is shown with the order', async () => {
  const { id } = await order({ courseUrl: COURSE });
  await redis.hset(`course-runner:task:${id}`, { status: 'running', percent: '40.0', email: 'a@b' });
  assert.deepEqual((await look(id)).progress, { status: 'running', percent: '40.0' });
  await redis.del(`course-runner:task:${id}`);
});

test('an order that is not there is 404; the page is served, and lets in no foreign script', async () => {
  assert.equal((await fetch(`${base}/api/orders/0`)).status, 404);
  const page = await fetch(`${base}/`);
  assert.match(await page.text(), /Course orders/);
  assert.match(page.headers.get('content-security-policy'), /default-src 'self'/);
});

test('while Redis is away a webhook is answered 5xx, so that it comes again', async () => {
  const away = connect('redis://127.0.0.1:1/0');
  away.options.maxRetriesPerRequest = 0;
  const settings = settingsFrom({ REDIS_URL: 'redis://x', API_SECRET_KEY: SECRET, WEBHOOK_SIGNING_KEY: KEY });
  const lone = appOf({ orders: new Orders(away, QUEUE), events, settings, log: () => {} });
  const listener = lone.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const webhook = signed({ task_id: 1, folder_name: 'x', timestamp: 1 });
  const url = `http://127.0.0.1:${listener.address().port}/webhook`;
  const answer = await fetch(url, { method: 'POST', ...webhook });
  away.disconnect();
  listener.closeAllConnections();
  listener.close();
  assert.equal(answer.status, 503);
});

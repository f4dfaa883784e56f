// The HTTP side: orders, the webhook, what the page asks for.

import { fileURLToPath } from 'node:url';

import express from 'express';

import { BadOrder } from './orders.js';
import { Refused, verified } from './verify.js';

const PAGE = fileURLToPath(new URL('../public', import.meta.url));
const now = () => Math.floor(Date.now() / 1000);

export function appOf({ orders, events, settings, log }) {
  const app = express();
  app.disable('x-powered-by');
  app.use((_request, response, next) => {
    response.set('Content-Security-Policy', "default-src 'self'");
    next();
  });
  app.post('/webhook', express.raw({ type: () => true, limit: '64kb', inflate: false }), webhook(orders, settings, log));
  app.post('/api/orders', express.json({ limit: '64kb' }), place(orders));
  app.get('/api/orders', list(orders));
  app.get('/api/orders/:id', one(orders));
  app.get('/api/events', watch(orders, events));
  app.use(express.static(PAGE));
  app.use(failed(log));
  return app;
}

// 2xx: delivered. 401 and 400: course-runner keeps the event and reports what is said here.
// 5xx: it comes again, so trouble of our own must never be answered with 4xx.
const webhook = (orders, settings, log) => async (request, response) => {
  const raw = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const event = verified(raw, request.headers, { ...settings, now: now() });
  const fresh = await orders.deliver(event);
  log(`Webhook ${event.id}: task ${event.taskId} ${event.status}${fresh ? '' : ', known before'}.`);
  response.json({ received: true, duplicate: !fresh });
};

const place = (orders) => async (request, response) => {
  const id = await orders.place(request.body ?? {});
  response.status(201).location(`/api/orders/${id}`).json({ id });
};

const list = (orders) => async (_request, response) => {
  const ids = await orders.ids();
  response.json(await Promise.all(ids.map((id) => orders.look(id))));
};

const one = (orders) => async (request, response) => {
  const order = await orders.look(request.params.id);
  if (order) response.json(order);
  else response.status(404).json({ error: `There is no order ${request.params.id}.` });
};

// Server-sent events. Only this backend's orders are told of: the stream has everybody's.
const watch = (orders, events) => (request, response) => {
  response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.flushHeaders();
  response.write('retry: 1000\n\n');
  const tell = async (event) => {
    if (await orders.has(event.id)) response.write(`data: ${JSON.stringify(event)}\n\n`);
  };
  events.on('event', tell);
  request.on('close', () => events.off('event', tell));
};

// Express knows an error handler by its four parameters.
const failed = (log) => (error, _request, response, _next) => {
  if (error instanceof Refused) log(`A webhook is refused: ${error.message}.`);
  const status = error instanceof BadOrder ? 400 : (error.status ?? 503);
  if (status >= 500) log(`A request failed: ${error.message}`);
  response.status(status).json({ error: status >= 500 ? 'The backend is in trouble.' : error.message });
};

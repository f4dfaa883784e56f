// Reads all orders whenever the stream of events (re)opens, then follows it. Text is set as text
// only: course addresses and messages come from outside.

const rows = new Map();
const known = new Map(); // what is shown of each order

function rowOf(id) {
  if (!rows.has(id)) {
    const row = document.createElement('tr');
    row.dataset.order = id;
    for (const name of ['id', 'course', 'state', 'bar', 'doing']) row.insertCell().dataset.cell = name;
    const bar = document.createElement('progress');
    bar.max = 100;
    bar.setAttribute('aria-label', `progress of order ${id}`);
    cell(row, 'bar').append(bar);
    cell(row, 'id').textContent = id;
    document.getElementById('orders').prepend(row);
    rows.set(id, row);
  }
  return rows.get(id);
}

const cell = (row, name) => row.querySelector(`[data-cell=${name}]`);

function show(order) {
  known.set(String(order.id), order);
  const { id, courseUrl, state, error, folder, progress } = order;
  const row = rowOf(String(id));
  cell(row, 'course').textContent = courseUrl;
  cell(row, 'state').textContent = folder ? `${state}: ${folder}` : state;
  row.querySelector('progress').value = Number(progress.percent ?? 0);
  const said = error || progress.obstacle || progress.message;
  cell(row, 'doing').textContent = [progress.status, progress.phase, said].filter(Boolean).join(' · ');
}

async function readAll() {
  const answer = await fetch('api/orders');
  if (answer.ok) for (const order of await answer.json()) show(order);
}

async function readOne(id) {
  const answer = await fetch(`api/orders/${encodeURIComponent(id)}`);
  if (answer.ok) show(await answer.json());
}

const events = new EventSource('api/events');
events.onopen = readAll;
events.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  // Progress is shown as it comes; a change of state is read, with what the webhook has said.
  const order = known.get(event.id);
  if (!order || event.progress.status !== undefined) readOne(event.id);
  else show({ ...order, progress: { ...order.progress, ...event.progress } });
};
setInterval(readAll, 5000); // the webhook itself is no event of the stream

document.getElementById('order').addEventListener('submit', async (submitted) => {
  submitted.preventDefault();
  const form = submitted.target;
  const answer = await fetch('api/orders', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ courseUrl: form.courseUrl.value }),
  });
  const said = await answer.json();
  document.getElementById('said').textContent = answer.ok ? `Order ${said.id}` : said.error;
  if (answer.ok) {
    form.reset();
    await readOne(said.id);
  }
});

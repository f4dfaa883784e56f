// A webhook controller as the users' backends have it: Node.js, body parsed first, HMAC taken of
// JSON.stringify(body) and not of the bytes that came. Prints its port; secret in SECRET.
const crypto = require("node:crypto");
const http = require("node:http");

const secret = process.env.SECRET;
const hmac = (data) => crypto.createHmac("sha256", secret).update(data).digest("hex");

function judge(request, raw) {
  if (!/^application\/json$/.test(request.headers["content-type"])) return [400, "content type"];
  const body = JSON.parse(raw);
  if (!body.secret_key) return [400, "missing secret_key"];
  if (body.secret_key !== secret) return [401, "wrong secret_key"];
  const expected = `sha256=${hmac(JSON.stringify(body))}`;
  if (request.headers["x-signature"] !== expected) return [401, "wrong signature"];
  return [200, JSON.stringify({ id: body.task_id, folder: body.folder_name, keys: Object.keys(body) })];
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const [status, text] = judge(request, Buffer.concat(parts).toString("utf8"));
    console.log(`${status} ${text}`);
    response.writeHead(status).end(text);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

// An issuer of signed tokens for the tests: makes keys, serves the public ones at /jwks, and signs what it is told.
//
// One JSON document a line on standard input, one answer a line on standard output; ends with its input:
//   {"make": KID}                            a new RSA key, served from now on
//   {"drop": KID}                            no longer served, and still signs
//   {"sign": KID, "alg": ALG, "claims": {}}  a token. ALG is RS256; HS256 signs with the public key as if it were a
//                                            secret, none does not sign at all
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

const keys = new Map();
const served = new Set();

const server = createServer((_, response) => {
  const list = [...served].map((kid) => ({
    ...keys.get(kid).publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256',
  }));
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ keys: list }));
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const base64url = (value) => Buffer.from(value).toString('base64url');

function token({ sign: kid, alg, claims }) {
  const head = base64url(JSON.stringify({ typ: 'JWT', alg, kid }));
  const text = `${head}.${base64url(JSON.stringify(claims))}`;
  const { privateKey, publicKey } = keys.get(kid);
  if (alg === 'RS256') return `${text}.${base64url(sign('sha256', Buffer.from(text), privateKey))}`;
  if (alg === 'none') return `${text}.`;
  const secret = publicKey.export({ format: 'pem', type: 'spki' });
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

function answer(order) {
  if (order.make) {
    keys.set(order.make, generateKeyPairSync('rsa', { modulusLength: 2048 }));
    served.add(order.make);
    return {};
  }
  if (order.drop) {
    served.delete(order.drop);
    return {};
  }
  return { token: token(order) };
}

console.log(JSON.stringify({ issuer: `http://127.0.0.1:${server.address().port}` }));
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(answer(JSON.parse(line))));
}
process.exit(0);

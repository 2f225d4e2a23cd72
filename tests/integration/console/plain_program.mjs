// A program in another language: Node's own http server and client, seen by OpenTelemetry's SDK and by nothing of skerry.
// Where to send and what it is called stand in OpenTelemetry's own environment variables.
// `node plain_program.mjs PACKAGES LEDGER`: the folder with OpenTelemetry's packages, and the address that it asks.
import { createRequire } from 'node:module';

const [, , packages, ledger] = process.argv;
const require = createRequire(`${packages}/`);
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
const { NodeSDK } = require('@opentelemetry/sdk-node');

const sdk = new NodeSDK({ instrumentations: [new HttpInstrumentation()], metricReaders: [], logRecordProcessors: [] });
sdk.start();
const http = require('node:http'); // after the SDK has begun, which wraps it

const web = http.createServer((_, response) => {
  http.get(`${ledger}/entries`, (answer) => {
    answer.resume();
    answer.on('end', () => response.end('sold'));
  });
});
await new Promise((listening) => web.listen(0, '127.0.0.1', listening));
for (let round = 0; round < 3; round += 1) {
  const answer = await fetch(`http://127.0.0.1:${web.address().port}/bills`);
  await answer.text();
}
web.close();
web.closeAllConnections();
await sdk.shutdown();

/** The table of odd requests against the proxy, which takes what the server takes, and nothing else. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { after, before, test } from 'node:test';
import { type RunningProxy, startProxy } from '@enclaim/client/proxy';
import { ECHO, type PretendServer, startPretendServer } from './support/pretend-server.ts';
import { askOddly, NOTE, ODD_REQUESTS, prefixed } from './support/requests.ts';

const CALL = { path: `${ECHO}Unary`, body: prefixed(NOTE) };

let server: PretendServer;
let proxy: RunningProxy;
let session: ClientHttp2Session;
let receipts = 0;
before(async () => {
  server = await startPretendServer();
  const { target, references } = server;
  const listen = { host: '127.0.0.1', port: 0 };
  proxy = await startProxy(target, { references, listen, onReceipt: () => receipts++ });
  session = connect(`http://${proxy.address}`);
  await once(session, 'remoteSettings');
});
after(async () => {
  session.destroy();
  await proxy.close();
  server.stop();
});

for (const odd of ODD_REQUESTS) {
  test(odd.name, async () => {
    receipts = 0;
    const { http, grpc } = await askOddly(session, CALL, odd);
    assert.deepEqual({ http, grpc }, { http: odd.http ?? 200, grpc: odd.grpc });
    if (odd.executed !== undefined) assert.equal(receipts > 0, odd.executed, 'whether a call was made');
  });
}

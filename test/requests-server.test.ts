/** The table of odd requests against the server: what is no call is refused before one begins. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { after, before, test } from 'node:test';
import { type Served, serve } from './hostile/served.ts';
import { askOddly, NOTE, ODD_REQUESTS, prefixed } from './support/requests.ts';

const CALL = { path: '/lab.v1.Lab/Sum', body: prefixed(NOTE) };

let served: Served;
let session: ClientHttp2Session;
before(async () => {
  served = await serve({ Sum: 'return { key: request.key }' });
  session = connect(`https://127.0.0.1:${served.port}`, {
    rejectUnauthorized: false,
    maxSendHeaderBlockLength: 1 << 20,
  });
  await once(session, 'remoteSettings');
});
after(() => {
  session.destroy();
  served.close();
});

for (const odd of ODD_REQUESTS) {
  test(odd.name, async () => {
    const { length } = served.lab.records;
    const { http, grpc } = await askOddly(session, CALL, odd);
    assert.deepEqual({ http, grpc }, { http: odd.http ?? 200, grpc: odd.grpc });
    if (odd.executed !== undefined)
      assert.equal(served.lab.records.length > length, odd.executed, 'whether a call began');
  });
}

test('the bound of metadata is announced', () => {
  assert.equal(session.remoteSettings.maxHeaderListSize, 16 * 1024);
});

test('metadata over the bound ends its call, and no other', async () => {
  for (const size of [17_000, 60_000, 66_000]) {
    const stream = session.request({
      ':method': 'POST',
      ':path': CALL.path,
      'content-type': 'application/grpc',
      te: 'trailers',
      k: 'x'.repeat(size),
    });
    stream.on('error', () => {});
    stream.resume().end(CALL.body);
    await new Promise((resolve) => stream.once('close', resolve));
    assert.equal(stream.rstCode, 11, `${size}: ENHANCE_YOUR_CALM, which clients give as RESOURCE_EXHAUSTED`);
    assert.equal((await askOddly(session, CALL, { name: '', executed: true })).grpc, 0, `a call after ${size}`);
  }
});

/** False if this fails: connections go through the proxy that the environment names, those to loopback never. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { describe, test } from 'node:test';
import { dial, parseTarget, proxyFor, routeFetches, targetText } from '../src/route.ts';

const PROXY = 'http://10.0.0.1:3128';

describe('a target', () => {
  test('is a host and a port', () => {
    for (const [text, host, port] of [
      ['intake.example:443', 'intake.example', 443],
      ['127.0.0.1:1', '127.0.0.1', 1],
      ['[::1]:65535', '::1', 65_535],
    ] as const) {
      const target = parseTarget(text);
      assert.deepEqual(target, { host, port });
      assert.equal(targetText(target), text);
    }
  });

  test('and nothing else', () => {
    for (const text of ['', 'host', 'host:', ':1', 'host:99999', 'https://host:1', '::1:1', 'a b:1', 'u@host:1']) {
      assert.throws(() => parseTarget(text), { code: 'unreachable' }, text);
    }
  });
});

describe('the proxy for a target', () => {
  test('is read from either spelling, lower case first', () => {
    const via = (environment: Record<string, string>): string | undefined => {
      const proxy = proxyFor({ host: 'intake.example', port: 443 }, environment);
      return proxy && `${targetText(proxy)} ${proxy.variable} ${proxy.credentials ?? ''}`.trim();
    };
    assert.equal(via({}), undefined);
    assert.equal(via({ https_proxy: '' }), undefined);
    assert.equal(via({ https_proxy: PROXY }), '10.0.0.1:3128 https_proxy');
    assert.equal(via({ HTTPS_PROXY: PROXY }), '10.0.0.1:3128 HTTPS_PROXY');
    assert.equal(via({ HTTPS_PROXY: 'http://other', https_proxy: PROXY }), '10.0.0.1:3128 https_proxy');
    assert.equal(via({ ALL_PROXY: 'proxy.example:8080' }), 'proxy.example:8080 ALL_PROXY');
    assert.equal(via({ https_proxy: 'http://proxy.example' }), 'proxy.example:80 https_proxy');
    assert.equal(via({ https_proxy: 'http://n%40me:p%3Aw@[2001:db8::1]:1' }), '[2001:db8::1]:1 https_proxy n@me:p:w');
    assert.equal(via({ http_proxy: PROXY }), undefined, 'is for addresses without TLS');
    for (const https_proxy of ['socks5://10.0.0.1', 'https://10.0.0.1', 'http://', '://']) {
      assert.throws(() => via({ https_proxy }), /https_proxy names no HTTP proxy/, https_proxy);
    }
  });

  test('is none for loopback, and for what no_proxy lists', () => {
    const rows: [noProxy: string, target: string, direct: boolean][] = [
      ['', 'localhost:1', true],
      ['', 'LOCALHOST.:1', true],
      ['', 'a.localhost:1', true],
      ['', '127.0.0.1:1', true],
      ['', '127.255.0.9:1', true],
      ['', '[::1]:1', true],
      ['', 'intake.example:1', false],
      ['', '10.0.0.9:1', false],
      ['*', 'intake.example:1', true],
      ['a, *', '10.0.0.9:1', true],
      ['intake.example', 'intake.example:1', true],
      ['INTAKE.example', 'intake.EXAMPLE.:1', true],
      [' other , intake.example ', 'intake.example:1', true],
      ['other intake.example', 'intake.example:1', true],
      ['example', 'intake.example:1', true],
      ['.example', 'intake.example:1', true],
      ['*.example', 'intake.example:1', true],
      ['take.example', 'intake.example:1', false],
      ['intake.example:443', 'intake.example:443', true],
      ['intake.example:443', 'intake.example:1', false],
      ['10.0.0.9', '10.0.0.9:1', true],
      ['0.0.9', '10.0.0.9:1', false],
      ['[2001:db8::1]', '[2001:db8::1]:1', true],
      ['2001:db8::1', '[2001:db8::1]:1', true],
      ['[2001:db8::1]:2', '[2001:db8::1]:1', false],
    ];
    for (const [noProxy, target, direct] of rows) {
      for (const name of ['no_proxy', 'NO_PROXY']) {
        const proxy = proxyFor(parseTarget(target), { https_proxy: PROXY, [name]: noProxy });
        assert.equal(proxy === undefined, direct, `${name}=${noProxy} ${target}`);
      }
    }
  });
});

describe('a connection', () => {
  /** A proxy that makes tunnels to `port` on this machine whatever it is asked for, or answers with a status. */
  async function startTunnels(answer: number | { port: number }) {
    const asked: string[] = [];
    const server = createServer();
    server.on('connect', (request, socket) => {
      asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
      if (typeof answer === 'number') return socket.end(`HTTP/1.1 ${answer} no\r\n\r\n`);
      return void dial({ host: '127.0.0.1', port: answer.port }, {}).then((through) => {
        socket.write('HTTP/1.1 200 ok\r\n\r\n');
        through.pipe(socket).pipe(through);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return { asked, port, https_proxy: `http://name:word@127.0.0.1:${port}`, stop: () => server.close() };
  }

  test('goes through the proxy to a name that only the proxy knows', async () => {
    const end = createTcp((socket) => socket.end('hello'));
    end.listen(0, '127.0.0.1');
    await once(end, 'listening');
    const tunnels = await startTunnels({ port: (end.address() as AddressInfo).port });
    try {
      const socket = await dial({ host: 'only.proxy.invalid', port: 7 }, { https_proxy: tunnels.https_proxy });
      assert.equal(Buffer.concat(await Array.fromAsync(socket as AsyncIterable<Buffer>)).toString(), 'hello');
      assert.deepEqual(tunnels.asked, ['only.proxy.invalid:7 Basic bmFtZTp3b3Jk']);
    } finally {
      tunnels.stop();
      end.close();
    }
  });

  test('that fails names its target, the proxy on the way without its password, and the reason', async () => {
    const tunnels = await startTunnels(407);
    try {
      const { port, https_proxy } = tunnels;
      await assert.rejects(dial({ host: 'intake.invalid', port: 443 }, { https_proxy }), {
        code: 'unreachable',
        message:
          `no connection to intake.invalid:443 through the proxy 127.0.0.1:${port} (https_proxy): ` +
          'the proxy answers 407',
      });
      await assert.rejects(dial({ host: '127.0.0.1', port: 1 }, { https_proxy }), /127\.0\.0\.1:1: .*ECONNREFUSED/);
    } finally {
      tunnels.stop();
    }
  });

  test('of fetch goes the same way', async () => {
    const tunnels = await startTunnels(502);
    const undo = routeFetches({ HTTPS_PROXY: tunnels.https_proxy, no_proxy: 'direct.invalid' });
    try {
      await assert.rejects(fetch('https://only.proxy.invalid/'));
      await assert.rejects(fetch('https://direct.invalid/'));
      await assert.rejects(fetch('https://localhost:1/'));
      await assert.rejects(fetch('https://127.0.0.1:1/'));
      assert.deepEqual(tunnels.asked, ['only.proxy.invalid:443 Basic bmFtZTp3b3Jk']);
    } finally {
      undo();
      tunnels.stop();
    }
  });
});

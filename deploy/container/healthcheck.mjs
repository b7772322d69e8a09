/**
 * HEALTHCHECK of the container image: exit code 0 where the server answers /-/healthy. Asks without TLS, then with it (and then for
 * any certificate: it is this container's own). HEALTHCHECK_PORT where http.listen is another than 7070.
 */
import http from 'node:http';
import https from 'node:https';

const port = Number(process.env.HEALTHCHECK_PORT ?? 7070);

function healthy(client) {
  return new Promise(done => {
    const options = { host: '127.0.0.1', port, path: '/-/healthy', timeout: 2000, rejectUnauthorized: false };
    const request = client.get(options, response => {
      response.resume();
      done(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => done(false));
  });
}

process.exit((await healthy(http)) || (await healthy(https)) ? 0 : 1);

// Node's http and http2, and undici: the first argument says which.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const { ROLLOUT_BODY: body, ROLLOUT_CLIENTS, ROLLOUT_PAUSE_MS, ROLLOUT_TIMEOUT_MS } = process.env
const url = new URL(process.env.ROLLOUT_URL)
const path = url.pathname + url.search
const timeout = Number(ROLLOUT_TIMEOUT_MS)
const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
for (const line of (process.env.ROLLOUT_HEADERS ?? '').split('\n').filter(Boolean)) {
  const colon = line.indexOf(':')
  headers[line.slice(0, colon)] = line.slice(colon + 1).trim()
}

const { ROLLOUT_CA, ROLLOUT_INSECURE } = process.env
const trust = { ca: ROLLOUT_CA ? readFileSync(ROLLOUT_CA) : undefined, rejectUnauthorized: !ROLLOUT_INSECURE }

// Each returns a function that posts once, on a connection of its own, and returns the status.
const libraries = {
  async http() {
    const http = await import(`node:${url.protocol.slice(0, -1)}`)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1, ...trust })
    return () => new Promise((resolve, reject) => {
      const request = http.request(url, { method: 'POST', agent, headers, signal: AbortSignal.timeout(timeout) })
      request.on('error', reject)
      request.on('response', (response) => {
        response.on('error', reject)
        response.on('end', () => resolve(response.statusCode))
        response.resume()
      })
      request.end(body)
    })
  },
  async http2() {
    const http2 = await import('node:http2')
    let session
    return () => new Promise((resolve, reject) => {
      if (!session || session.closed || session.destroyed) {
        session = http2.connect(url.origin, trust)
        session.on('error', () => {})
      }
      const stream = session.request(
        { ':method': 'POST', ':path': path, ...headers }, { signal: AbortSignal.timeout(timeout) })
      let status
      stream.on('response', (response) => { status = response[':status'] })
      stream.on('error', reject)
      stream.on('close', () => status ? resolve(status) : reject(new Error('closed without a response')))
      stream.resume()
      stream.end(body)
    })
  },
  async undici() {
    const { Client } = await import('undici')
    const client = new Client(url.origin, { headersTimeout: timeout, bodyTimeout: timeout, connect: trust })
    return async () => {
      const response = await client.request({ method: 'POST', path, headers, body })
      await response.body.dump()
      return response.statusCode
    }
  },
}

let stopped = false
const stop = new AbortController()
process.stdin.on('end', () => { stopped = true; stop.abort() }).resume()
const [min, max] = ROLLOUT_PAUSE_MS.split(' ').map(Number)

async function client() {
  const post = await libraries[process.argv[2]]()
  for (;;) {
    await sleep(min + Math.random() * (max - min), null, { signal: stop.signal }).catch(() => {})
    if (stopped) return
    const began = performance.now()
    const took = () => ((performance.now() - began) / 1000).toFixed(6)
    try {
      const status = await post()
      process.stdout.write(`${status} ${took()}\n`)
    } catch (error) {
      process.stdout.write(`000 ${took()} ${error.code ?? error.name}: ${error.message.replaceAll('\n', ' ')}\n`)
    }
  }
}

await Promise.all(Array.from({ length: Number(ROLLOUT_CLIENTS) }, client))
process.exit()

// The manifest of docs/clients.md, against a gateway that answers nothing else.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { HttpLink, gql } from '@apollo/client'
import WebSocket from 'ws'

const { GATEWAY: address, TOKEN: token, TALENT: talent } = process.env
const authorization = `Bearer ${token}`
const built = (file) => import(new URL(`./__generated__/built/${file}`, import.meta.url))
const { named, trustedExchange, trustedLink } = await built('trusted.js')
const { apolloClient } = await built('apollo.js')
const { urqlClient, listPage, recordJob } = await built('urql.js')
const { actionFor } = await built('errors.js')
const { changesOf, onChange } = await built('watch.js')
const { JobFacetsDocument, JobListDocument, ListChangedDocument, RecordEventsDocument } = await built('generated/graphql.js')
globalThis.WebSocket ??= WebSocket // Node 20 has none; a browser has
const headers = { 'content-type': 'application/json', authorization }
const post = async (body) => (await fetch(address, { method: 'POST', headers, body: JSON.stringify(body) })).json()
const variables = { talent, filter: null, after: null }

const bodies = []
const plainFetch = globalThis.fetch
globalThis.fetch = (url, options) => {
  bodies.push(JSON.parse(options.body))
  return plainFetch(url, options)
}

test('a document is answered by its id', async () => {
  const { data, errors } = await post(named(JobListDocument, variables))
  assert.equal(errors, undefined)
  assert.equal(data.talent.recommendedJobs.edges.length, 10)
})

test('every document of the manifest is known under its name in it, and no other', async () => {
  const manifest = JSON.parse(readFileSync(new URL('./__generated__/generated/persisted-documents.json', import.meta.url), 'utf8'))
  assert.equal(Object.keys(manifest).length, 4)
  for (const name of Object.keys(manifest)) {
    const { errors } = await post({ documentId: name })
    assert.ok(errors.every(({ extensions }) => extensions.code !== 'UNKNOWN_DOCUMENT')) // only its variables are missing
  }
  assert.equal((await post({ documentId: `sha256:${'0'.repeat(64)}` })).errors[0].extensions.code, 'UNKNOWN_DOCUMENT')
})

test('Apollo and urql ask by hash alone', async () => {
  bodies.length = 0
  const apollo = apolloClient(trustedLink(address, authorization))
  const { data } = await apollo.query({ query: JobListDocument, variables })
  await apollo.query({ query: JobFacetsDocument, variables: { talent } })
  const urql = urqlClient(address, authorization, trustedExchange())
  const page = await listPage(urql, talent)
  assert.equal(page.error, undefined)
  assert.deepEqual(page.data.talent.recommendedJobs.edges.length, data.talent.recommendedJobs.edges.length)
  await recordJob(urql, 'DISMISS', talent, page.data.talent.recommendedJobs.edges[0])
  assert.equal(bodies.length, 4)
  for (const body of bodies) assert.ok(body.extensions.persistedQuery.sha256Hash && !body.query)
})

test('the same question as text is refused, and so is nobody', async () => {
  const apollo = apolloClient(new HttpLink({ uri: address, headers: { authorization } }))
  const refused = await apollo.query({ query: JobListDocument, variables }).catch((error) => error)
  assert.equal(refused.errors[0].extensions.code, 'OPERATION_NOT_TRUSTED')
  assert.equal(actionFor(refused), 'update app')
  const unknown = await apolloClient(trustedLink(address, '')).query({ query: JobListDocument, variables }).catch((error) => error)
  assert.equal(actionFor(unknown), 'sign in')
  assert.equal(actionFor((await listPage(urqlClient(address), talent)).error), 'sign in')
})

test('a document of a build that the manifest lacks says that the app is old', async () => {
  const query = { ...gql`query Old { viewer { roles } }`, __meta__: { hash: `sha256:${'1'.repeat(64)}` } }
  const apollo = apolloClient(trustedLink(address, authorization))
  assert.equal(actionFor(await apollo.query({ query }).catch((error) => error)), 'update app')
  const urql = urqlClient(address, authorization, trustedExchange())
  assert.equal(actionFor((await urql.query(query, {})).error), 'update app')
})

test('a list is watched by its id, and not by a text', async () => {
  let told
  const change = new Promise((resolve) => (told = resolve))
  const socket = address.replace('http', 'ws')
  const stop = onChange(socket, authorization, named(ListChangedDocument, { talent }), told)
  const view = () => ({ eventId: crypto.randomUUID(), actor: 'TALENT', type: 'VIEW', talentId: talent, jobId: 'job-000001' })
  const timer = setInterval(() => post(named(RecordEventsDocument, { events: [view()] })), 300)
  await change
  clearInterval(timer)
  stop()
  const { error } = console
  const refused = await new Promise((resolve) => {
    console.error = resolve
    const end = onChange(socket, authorization, changesOf(talent), () => assert.fail('it was answered'))
    setTimeout(end, 2000).unref()
  })
  console.error = error
  assert.equal(refused[0].extensions.code, 'OPERATION_NOT_TRUSTED')
})

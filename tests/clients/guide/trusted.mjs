// The manifest of docs/clients.md, against a gateway that answers nothing else.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { HttpLink } from '@apollo/client'

const { GATEWAY: address, TOKEN: token, TALENT: talent } = process.env
const authorization = `Bearer ${token}`
const built = (file) => import(new URL(`./__generated__/built/${file}`, import.meta.url))
const { askTrusted, trustedExchange, trustedLink } = await built('trusted.js')
const { apolloClient } = await built('apollo.js')
const { urqlClient, listPage, recordJob } = await built('urql.js')
const { actionFor } = await built('errors.js')
const { JobFacetsDocument, JobListDocument } = await built('generated/graphql.js')
const variables = { talent, filter: null, after: null }

const bodies = []
const plainFetch = globalThis.fetch
globalThis.fetch = (url, options) => {
  bodies.push(JSON.parse(options.body))
  return plainFetch(url, options)
}

test('a document is answered by its id', async () => {
  const { data, errors } = await askTrusted(address, authorization, JobListDocument, variables)
  assert.equal(errors, undefined)
  assert.equal(data.talent.recommendedJobs.edges.length, 10)
})

test('every document of the manifest is known under its name in it, and no other', async () => {
  const manifest = JSON.parse(readFileSync(new URL('./__generated__/generated/persisted-documents.json', import.meta.url), 'utf8'))
  assert.equal(Object.keys(manifest).length, 4)
  const headers = { 'content-type': 'application/json', authorization }
  const named = async (documentId) => (await fetch(address, { method: 'POST', headers, body: JSON.stringify({ documentId }) })).json()
  for (const name of Object.keys(manifest)) {
    const { errors } = await named(name)
    assert.ok(errors.every(({ extensions }) => extensions.code !== 'UNKNOWN_DOCUMENT')) // only its variables are missing
  }
  assert.equal((await named(`sha256:${'0'.repeat(64)}`)).errors[0].extensions.code, 'UNKNOWN_DOCUMENT')
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

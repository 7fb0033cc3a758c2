// urql with graphcache and its own reading of Relay's pagination.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, fetchExchange, gql } from '@urql/core'
import { cacheExchange } from '@urql/exchange-graphcache'
import { relayPagination } from '@urql/exchange-graphcache/extras'
import { persistedExchange } from '@urql/exchange-persisted'
import { buildSchema, introspectionFromSchema } from 'graphql'
import { readFileSync } from 'node:fs'
import { address, dismiss, talentWithHistory, wholeList } from './market.mjs'

const LIST = gql`
  query List($id: ID!, $after: String) {
    talent(talentId: $id) {
      id
      recommendedJobs(first: 10, after: $after) {
        edges { cursor node { id jobId title } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }
  }
`
const schema = introspectionFromSchema(buildSchema(readFileSync(new URL('../../schema.graphql', import.meta.url), 'utf8')))

function client(preferGetMethod = false) {
  const cache = cacheExchange({ schema, resolvers: { Talent: { recommendedJobs: relayPagination() } } })
  return new Client({ url: address, exchanges: [cache, fetchExchange], preferGetMethod })
}

for (const get of [false, true]) {
  test(`relayPagination walks a list by ${get ? 'GET' : 'POST'} while items are dismissed: no repeat, no gap`, async () => {
    const id = await talentWithHistory(get ? 1 : 2)
    const before = await wholeList(id)
    const urql = client(get)
    let after = null
    let edges = []
    const dismissed = []
    for (let page = 0; page < 4; page += 1) {
      const { data, error } = await urql.query(LIST, { id, after })
      assert.equal(error, undefined)
      edges = data.talent.recommendedJobs.edges // relayPagination gives all pages so far
      after = data.talent.recommendedJobs.pageInfo.endCursor
      assert.equal(edges.length, 10 * (page + 1))
      if (page < 3) {
        const shown = edges.map((edge) => edge.node.jobId)
        const next = before.filter((jobId) => !shown.includes(jobId) && !dismissed.includes(jobId))
        await dismiss(id, next[2])
        dismissed.push(next[2])
      }
    }
    const walked = edges.map((edge) => edge.node.jobId)
    assert.deepEqual(walked, before.filter((jobId) => !dismissed.includes(jobId)).slice(0, 40))
  })
}

test('persistedExchange: by GET, the text once', async () => {
  const requests = []
  const spy = (url, options) => {
    requests.push(new URL(url).searchParams.has('query'))
    return fetch(url, options)
  }
  const urql = new Client({
    url: address,
    fetch: spy,
    exchanges: [persistedExchange({ preferGetForPersistedQueries: true }), fetchExchange],
  })
  const query = gql(`query Apq${crypto.randomUUID().slice(0, 8)} { viewer { roles } }`)
  for (let time = 0; time < 2; time += 1) {
    const { data, error } = await urql.query(query, {}, { requestPolicy: 'network-only' })
    assert.equal(error, undefined)
    assert.deepEqual(data.viewer.roles, ['engineer'])
  }
  assert.deepEqual(requests, [false, true, false])
})

// @defer with the clients that read parts: what is fast is on the screen before what is slow has been asked for.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApolloClient, HttpLink, InMemoryCache, gql } from '@apollo/client'
import { Defer20220824Handler, GraphQL17Alpha9Handler } from '@apollo/client/incremental'
import { Client, fetchExchange, gql as urqlGql } from '@urql/core'
import { cacheExchange } from '@urql/exchange-graphcache'
import { address, talentWithHistory, wholeList } from './market.mjs'

const SCREEN = `
  query Screen($id: ID!) {
    talent(talentId: $id) {
      id
      title
      ...List @defer(label: "list")
    }
  }
  fragment List on Talent {
    recommendedJobs(first: 100) { nodes { id jobId } }
  }
`

const HANDLERS = { Defer20220824Handler: [new Defer20220824Handler(), 8], GraphQL17Alpha9Handler: [new GraphQL17Alpha9Handler(), 9] }

for (const [name, [incrementalHandler, place]] of Object.entries(HANDLERS)) {
  test(`Apollo Client renders the first part before the deferred one, by ${name}`, async () => {
    const id = await talentWithHistory(place)
    const cache = new InMemoryCache()
    const apollo = new ApolloClient({ cache, link: new HttpLink({ uri: address }), incrementalHandler })
    const renders = []
    await new Promise((resolve, reject) => {
      apollo.watchQuery({ query: gql(SCREEN), variables: { id } }).subscribe(({ data, dataState, error }) => {
        if (error) reject(error)
        if (!data?.talent) return
        renders.push([dataState, data.talent.recommendedJobs?.nodes.length])
        if (dataState === 'complete') resolve()
      })
    })
    assert.deepEqual(renders, [['streaming', undefined], ['complete', (await wholeList(id)).length]])
    const { talent } = cache.readQuery({ query: gql(SCREEN.replace('@defer(label: "list")', '')), variables: { id } })
    assert.deepEqual(talent.recommendedJobs.nodes.map((job) => job.jobId), await wholeList(id))
  })
}

test('urql, with graphcache, gives the first part before the deferred one', async () => {
  const id = await talentWithHistory(10)
  const urql = new Client({ url: address, preferGetMethod: false, exchanges: [cacheExchange({}), fetchExchange] })
  const renders = []
  await new Promise((resolve, reject) => {
    urql.query(urqlGql(SCREEN), { id }).subscribe(({ data, error, hasNext }) => {
      if (error) reject(error)
      renders.push([hasNext, data.talent.recommendedJobs?.nodes.length])
      if (!hasNext) resolve()
    })
  })
  assert.deepEqual(renders, [[true, undefined], [false, (await wholeList(id)).length]])
})

test('a client that does not read parts gets the whole', async () => {
  const id = await talentWithHistory(11)
  const response = await fetch(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
    body: JSON.stringify({ query: SCREEN, variables: { id } }),
  })
  const { data, hasNext } = await response.json()
  assert.equal(hasNext, undefined)
  assert.equal(data.talent.recommendedJobs.nodes.length, (await wholeList(id)).length)
})

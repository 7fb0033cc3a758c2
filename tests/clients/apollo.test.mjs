// Apollo Client with the field policy its users reach for.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client'
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries'
import { relayStylePagination } from '@apollo/client/utilities'
import { address, dismiss, talentWithHistory, wholeList } from './market.mjs'

const LIST = gql`
  query List($id: ID!, $after: String) {
    talent(talentId: $id) {
      id
      recommendedJobs(first: 10, after: $after) {
        edges { cursor rank node { id jobId title } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
`

const sha256 = (text) => createHash('sha256').update(text).digest('hex')

function client() {
  const cache = new InMemoryCache({
    typePolicies: { Talent: { fields: { recommendedJobs: relayStylePagination(['filter', 'options']) } } },
  })
  return new ApolloClient({ cache, link: new HttpLink({ uri: address }) })
}

test('relayStylePagination walks a list while items are dismissed: no repeat, no gap', async () => {
  const id = await talentWithHistory(0)
  const before = await wholeList(id)
  assert.ok(before.length > 40)
  const apollo = client()
  const list = apollo.watchQuery({ query: LIST, variables: { id } })
  const watching = list.subscribe({})
  let { data } = await list.refetch()
  const dismissed = []
  for (let page = 1; page < 4; page += 1) {
    const shown = data.talent.recommendedJobs.edges.map((edge) => edge.node.jobId)
    const next = before.filter((jobId) => !shown.includes(jobId) && !dismissed.includes(jobId))
    // One that is on the screen, one of the page to come.
    for (const jobId of [shown[shown.length - 1], next[3]]) {
      await dismiss(id, jobId)
      dismissed.push(jobId)
    }
    await list.fetchMore({ variables: { after: data.talent.recommendedJobs.pageInfo.endCursor } })
    data = apollo.cache.readQuery({ query: LIST, variables: { id } })
  }
  watching.unsubscribe()
  const walked = data.talent.recommendedJobs.edges.map((edge) => edge.node.jobId)
  assert.equal(walked.length, 40)
  assert.equal(new Set(walked).size, 40)
  const unseen = dismissed.filter((jobId) => !walked.includes(jobId))
  assert.equal(unseen.length, 3)
  assert.deepEqual(walked, before.filter((jobId) => !unseen.includes(jobId)).slice(0, 40))
  const ranks = data.talent.recommendedJobs.edges.map((edge) => edge.rank)
  assert.deepEqual(ranks, ranks.toSorted((a, b) => a - b))
})

test('an error arrives as CombinedGraphQLErrors with its code', async () => {
  const query = gql`{ jobs(first: 0) { totalCount } }`
  await assert.rejects(client().query({ query }), (error) => {
    assert.ok(CombinedGraphQLErrors.is(error))
    assert.equal(error.errors[0].extensions.code, 'BAD_USER_INPUT')
    assert.match(error.message, /first/)
    return true
  })
})

test('what is null beside an error is kept under errorPolicy all', async () => {
  const query = gql`{ viewer { roles } jobs(first: 0) { totalCount } }`
  const { data, error } = await client().query({ query, errorPolicy: 'all' })
  assert.equal(data.jobs, null)
  assert.ok(data.viewer.roles.length > 0)
  assert.ok(CombinedGraphQLErrors.is(error))
})

test('automatic persisted queries: the hash by GET, the text by POST once, then the hash by GET', async () => {
  const requests = []
  const spy = (uri, options) => {
    requests.push([options.method, 'query' in JSON.parse(options.body ?? '{}')])
    return fetch(uri, options)
  }
  const link = new PersistedQueryLink({ sha256, useGETForHashedQueries: true }).concat(
    new HttpLink({ uri: address, fetch: spy }),
  )
  const apollo = new ApolloClient({ cache: new InMemoryCache(), link })
  const query = gql`query Apq${crypto.randomUUID().slice(0, 8)} { viewer { roles } }`
  for (let time = 0; time < 2; time += 1) {
    const { data } = await apollo.query({ query, fetchPolicy: 'network-only' })
    assert.deepEqual(data.viewer.roles, ['engineer'])
  }
  assert.deepEqual(requests, [['GET', false], ['POST', true], ['GET', false]])
})

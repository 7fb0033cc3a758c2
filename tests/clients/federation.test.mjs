// Apollo Gateway over two subgraphs: the marketplace's own, which has names and titles, and Tandem's, which has lists.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { composeServices } from '@apollo/composition'
import { ApolloGateway, LocalGraphQLDataSource, RemoteGraphQLDataSource } from '@apollo/gateway'
import { buildSubgraphSchema } from '@apollo/subgraph'
import { parse } from 'graphql'
import { address, ask, talentWithHistory } from './market.mjs'

const federation = new URL('/federation', address).href

// Both are in the docs: a graph that has a PageInfo, a JobFilter and a Level of its own, and a query of it with Tandem.
const page = readFileSync(new URL('../../docs/federation.md', import.meta.url), 'utf8')
const [graph, home] = [...page.matchAll(/^```graphql\n(.*?)^```$/gms)].map(([, text]) => text)
const typeDefs = parse(graph)

const talent = (id) => ({ id, name: `Talent ${id}`, level: 'SENIOR' })
const job = (id) => ({ id, title: `Job ${id}` })
const resolvers = {
  Query: {
    talent: (_, { id }) => talent(id),
    talents: (_, { ids }) => ids.map(talent),
    jobs: () => ({ nodes: [], pageInfo: { hasNextPage: false, hasPreviousPage: false } }),
  },
  Talent: { __resolveReference: ({ id }) => talent(id) },
  Job: { __resolveReference: ({ id }) => job(id) },
}

const whys = ({ reasons }) => reasons.map(({ text }) => text)

async function post(query) {
  const headers = { 'content-type': 'application/json' }
  return (await fetch(federation, { method: 'POST', headers, body: JSON.stringify({ query }) })).json()
}

let execute
let asked // of Tandem

before(async () => {
  const { data } = await post('{ _service { sdl } }')
  const { errors, hints, supergraphSdl } = composeServices([
    { name: 'market', url: 'http://market.invalid', typeDefs },
    { name: 'tandem', url: federation, typeDefs: parse(data._service.sdl) },
  ])
  assert.deepEqual({ errors, hints }, { errors: undefined, hints: [] })

  class Tandem extends RemoteGraphQLDataSource {
    willSendRequest({ request }) {
      asked.push((request.variables.representations ?? []).map(({ __typename, id }) => `${__typename} ${id}`))
    }
  }
  const market = new LocalGraphQLDataSource(buildSubgraphSchema({ typeDefs, resolvers }))
  const gateway = new ApolloGateway({
    supergraphSdl,
    buildService: ({ name, url }) => (name === 'market' ? market : new Tandem({ url })),
  })
  const { executor } = await gateway.load()
  execute = async (source, variables = {}) => {
    asked = []
    const request = { query: source, variables }
    return executor({ request, document: parse(source), queryHash: source, context: {}, metrics: {} })
  }
})

test('a list of ours has titles of theirs', async () => {
  const id = await talentWithHistory(4)
  const ours = await ask(
    `query Own($id: ID!) {
      talent(talentId: $id) {
        recommendedJobs(first: 3) { pageInfo { hasNextPage } edges { node { jobId } reasons { text } } }
      }
    }`,
    { id },
  )

  const { data, errors } = await execute(home, { id })

  assert.equal(errors, undefined)
  assert.equal(data.talent.name, `Talent ${id}`)
  assert.equal(data.talent.level, 'SENIOR')
  const { edges: expected, pageInfo } = ours.talent.recommendedJobs
  const found = data.talent.recommendedJobs
  assert.deepEqual(found.nodes.map(({ id, title }) => ({ id, title })), expected.map(({ node }) => job(node.jobId)))
  assert.deepEqual(found.edges.map(whys), expected.map(whys))
  assert.ok(found.edges.every(({ recommendationId }, index) => recommendationId.endsWith(`.${index + 1}`)))
  assert.equal(found.pageInfo.hasNextPage, pageInfo.hasNextPage)
  assert.ok(found.pageInfo.endCursor)
})

test('the lists of a page of talents are one request, and one of a talent who is new is what is popular', async () => {
  const ids = [await talentWithHistory(4), await talentWithHistory(5), 'registered-a-second-ago']

  const { data, errors } = await execute(
    `query Page($ids: [ID!]!) { talents(ids: $ids) { name recommendedJobs(first: 2) { strategy nodes { title } } } }`,
    { ids },
  )

  assert.equal(errors, undefined)
  assert.deepEqual(asked, [ids.map((id) => `Talent ${id}`)])
  assert.deepEqual(data.talents.map(({ recommendedJobs }) => recommendedJobs.nodes.length), [2, 2, 2])
  assert.equal(data.talents[2].recommendedJobs.strategy, 'POPULAR')
})

test('what a reason or an event names is theirs too', async () => {
  const id = await talentWithHistory(4)

  const { data, errors } = await execute(
    `query Named($id: ID!) {
      talent(id: $id) {
        interactions(first: 1) { nodes { talent { name } job { id title } } }
        recommendedJobs(first: 5) {
          edges { node { recommendedTalents(first: 1) { nodes { id name } } } reasons { jobs { id title } } }
        }
      }
    }`,
    { id },
  )

  assert.equal(errors, undefined)
  const [event] = data.talent.interactions.nodes
  assert.equal(event.talent.name, `Talent ${id}`)
  const named = data.talent.recommendedJobs.edges.flatMap(({ reasons }) => reasons.flatMap(({ jobs }) => jobs))
  const invited = data.talent.recommendedJobs.edges.flatMap(({ node }) => node.recommendedTalents.nodes)
  assert.ok(named.length > 0)
  for (const { id, title } of [event.job, ...named]) assert.equal(title, `Job ${id}`)
  assert.equal(invited.length, 5)
  for (const { id, name } of invited) assert.equal(name, `Talent ${id}`)
})

test('what came of a list is recorded through the router, and a filter with a fault is a coded error of its field', async () => {
  const talentId = await talentWithHistory(6)
  const event = { eventId: crypto.randomUUID(), actor: 'TALENT', type: 'VIEW', talentId, jobId: 'nobodys-job' }
  const recorded = await execute(
    `mutation Record($input: TandemRecordEventsInput!) { recordEvents(input: $input) { acceptedCount userErrors { code } } }`,
    { input: { events: [event] } },
  )
  assert.equal(recorded.errors, undefined)
  assert.ok(recorded.data.recordEvents)

  const faulty = await execute(
    `query Faulty($id: ID!) { talent(id: $id) { name recommendedJobs(first: 0) { nodes { id } } } }`,
    { id: talentId },
  )
  assert.equal(faulty.data.talent.name, `Talent ${talentId}`)
  assert.deepEqual(faulty.errors.map(({ extensions }) => extensions.code), ['BAD_USER_INPUT'])
})

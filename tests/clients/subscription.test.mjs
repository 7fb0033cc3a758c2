// recommendationsChanged with graphql-ws, graphql-sse, and Apollo and urql over graphql-ws.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApolloClient, InMemoryCache, gql } from '@apollo/client'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { Client, subscriptionExchange, gql as urqlGql } from '@urql/core'
import { createClient as createSseClient } from 'graphql-sse'
import { createClient as createSocketClient } from 'graphql-ws'
import WebSocket from 'ws'
import { address, dismiss, talentWithHistory, wholeList } from './market.mjs'

const CHANGED = `subscription Changed($id: ID!) {
  recommendationsChanged(subject: { talentId: $id }) { cause talent { id recommendedJobs(first: 100) { nodes { jobId } } } }
}`

const socketClient = () =>
  createSocketClient({ url: address.replace('http', 'ws'), webSocketImpl: WebSocket, lazyCloseTimeout: 0 })

// Dismisses until it is told: when a stream has begun is not told to its client.
async function toldAfterDismissing(id, nextChange) {
  const change = nextChange()
  const dismissed = []
  const timer = setInterval(async () => {
    const [first] = await wholeList(id)
    await dismiss(id, first)
    dismissed.push(first)
  }, 300)
  const data = await change
  clearInterval(timer)
  const { cause, talent } = data.recommendationsChanged
  assert.equal(cause, 'EVENTS')
  const shown = talent.recommendedJobs.nodes.map((job) => job.jobId)
  assert.ok(dismissed.length > 0)
  assert.ok(!shown.includes(dismissed[0]))
}

test('graphql-ws is told', async () => {
  const id = await talentWithHistory(5)
  const client = socketClient()
  await toldAfterDismissing(id, async () => {
    for await (const { data, errors } of client.iterate({ query: CHANGED, variables: { id } })) {
      assert.equal(errors, undefined)
      return data
    }
  })
  await client.dispose()
})

test('graphql-sse is told', async () => {
  const id = await talentWithHistory(6)
  const client = createSseClient({ url: address, singleConnection: false })
  await toldAfterDismissing(id, async () => {
    for await (const { data, errors } of client.iterate({ query: CHANGED, variables: { id } })) {
      assert.equal(errors, undefined)
      return data
    }
  })
  client.dispose()
})

test('Apollo Client is told over graphql-ws', async () => {
  const id = await talentWithHistory(7)
  const client = socketClient()
  const apollo = new ApolloClient({ cache: new InMemoryCache(), link: new GraphQLWsLink(client) })
  await toldAfterDismissing(
    id,
    () =>
      new Promise((resolve, reject) => {
        const stream = apollo.subscribe({ query: gql(CHANGED), variables: { id } }).subscribe({
          next: ({ data, error }) => {
            stream.unsubscribe()
            error ? reject(error) : resolve(data)
          },
          error: reject,
        })
      }),
  )
  await client.dispose()
})

test('urql is told over graphql-ws', async () => {
  const id = await talentWithHistory(8)
  const client = socketClient()
  const forwardSubscription = ({ query, variables }) => ({
    subscribe: (sink) => ({ unsubscribe: client.subscribe({ query, variables }, sink) }),
  })
  const urql = new Client({ url: address, exchanges: [subscriptionExchange({ forwardSubscription })] })
  await toldAfterDismissing(
    id,
    () =>
      new Promise((resolve, reject) => {
        const stream = urql.subscription(urqlGql(CHANGED), { id }).subscribe(({ data, error }) => {
          stream.unsubscribe()
          error ? reject(error) : resolve(data)
        })
      }),
  )
  await client.dispose()
})

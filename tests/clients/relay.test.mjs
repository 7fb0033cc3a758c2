// relay-runtime with what relay-compiler made of relay/JobList.js: a list under @connection and @refetchable.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRequire } from 'node:module'
import relay from 'relay-runtime'
import { address, ask, dismiss, talentWithHistory, wholeList } from './market.mjs'

const { Environment, Network, RecordSource, Store, createOperationDescriptor, fetchQuery, getSingularSelector } = relay

const require = createRequire(import.meta.url) // what the compiler writes are CommonJS modules
const [query, fragment, nextPage] = ['JobListQuery', 'JobList_talent', 'JobListPaginationQuery'].map((name) =>
  require(`./relay/__generated__/${name}.graphql`),
)

async function fetchFunction({ text }, variables) {
  const response = await fetch(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
    body: JSON.stringify({ query: text, variables }),
  })
  return response.json()
}

test('a compiled list is refetched page by page while items are dismissed: no repeat, no gap', async () => {
  const talentId = await talentWithHistory(4)
  const { talent } = await ask('query Id($id: ID!) { talent(talentId: $id) { id } }', { id: talentId })
  const before = await wholeList(talentId)
  const environment = new Environment({ network: Network.create(fetchFunction), store: new Store(new RecordSource()) })
  await fetchQuery(environment, query, { id: talent.id }).toPromise()
  const operation = createOperationDescriptor(query, { id: talent.id })
  environment.retain(operation)
  const read = () => {
    const owner = environment.lookup(operation.fragment).data.node.talent
    return environment.lookup(getSingularSelector(fragment, owner)).data.recommendedJobs
  }
  const dismissed = []
  for (let page = 1; page < 4; page += 1) {
    const shown = read().edges.map((edge) => edge.node.jobId)
    const next = before.filter((jobId) => !shown.includes(jobId) && !dismissed.includes(jobId))
    await dismiss(talentId, next[0])
    dismissed.push(next[0])
    const { endCursor, hasNextPage } = read().pageInfo
    assert.ok(hasNextPage)
    await fetchQuery(environment, nextPage, { id: talent.id, first: 10, after: endCursor }).toPromise()
  }
  const walked = read().edges.map((edge) => edge.node.jobId)
  assert.deepEqual(walked, before.filter((jobId) => !dismissed.includes(jobId)).slice(0, 40))
})

// graphql-request, what scripts and back ends use.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClientError, GraphQLClient } from 'graphql-request'
import { address, talentWithHistory } from './market.mjs'

test('a query with variables is answered', async () => {
  const talentId = await talentWithHistory(3)
  const { talent } = await new GraphQLClient(address).request(
    'query Talent($id: ID!) { talent(talentId: $id) { talentId recommendedJobs(first: 2) { nodes { jobId } } } }',
    { id: talentId },
  )
  assert.equal(talent.talentId, talentId)
  assert.equal(talent.recommendedJobs.nodes.length, 2)
})

test('a request error carries its status and code', async () => {
  await assert.rejects(new GraphQLClient(address).request('{ nothing }'), (error) => {
    assert.ok(error instanceof ClientError)
    assert.equal(error.response.status, 400)
    assert.equal(error.response.errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED')
    return true
  })
})

// Where the gateway is, and a talent of its demo market who has a history.

import assert from 'node:assert/strict'

export const address = process.env.GATEWAY

export async function ask(query, variables) {
  const response = await fetch(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  })
  const { data, errors } = await response.json()
  assert.deepEqual(errors, undefined)
  return data
}

// Test files run side by side against one market: each takes the `place`-th talent with a history as its own.
export async function talentWithHistory(place) {
  const { talents } = await ask(`{ talents(first: 100) { nodes { talentId interactions(first: 1) { nodes { type } } } } }`)
  const known = talents.nodes.filter((talent) => talent.interactions.nodes.length > 0)
  assert.ok(known.length > place)
  return known[place].talentId
}

export async function dismiss(talentId, jobId) {
  const event = { eventId: crypto.randomUUID(), actor: 'TALENT', type: 'DISMISS', talentId, jobId }
  const { recordEvents } = await ask(
    `mutation Dismiss($input: RecordEventsInput!) { recordEvents(input: $input) { acceptedCount userErrors { message } } }`,
    { input: { events: [event] } },
  )
  assert.deepEqual(recordEvents, { acceptedCount: 1, userErrors: [] })
}

// Everything a list would show now, read in one go: what a walk with dismissals between its pages must add up to.
export async function wholeList(talentId) {
  const { talent } = await ask(
    `query Whole($id: ID!) { talent(talentId: $id) { recommendedJobs(first: 100) { totalCount nodes { jobId } } } }`,
    { id: talentId },
  )
  return talent.recommendedJobs.nodes.map((job) => job.jobId)
}

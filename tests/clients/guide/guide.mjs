// The app of docs/clients.md against a served market: every function that its files export is called.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { after, test } from 'node:test'
import { ApolloLink, CombinedGraphQLErrors, HttpLink } from '@apollo/client'
import { CombinedError } from '@urql/core'
import WebSocket from 'ws'
import { address, ask, dismiss, talentWithHistory, wholeList } from '../market.mjs'

globalThis.WebSocket ??= WebSocket // Node 20 has none; a browser has

const BUILT = new URL('./__generated__/built/', import.meta.url)
const called = new Set()
const exported = new Set()
const app = {}
for (const file of readdirSync(BUILT).filter((name) => name.endsWith('.js'))) {
  const module = await import(new URL(file, BUILT))
  for (const [name, value] of Object.entries(module)) {
    if (name === 'default') continue // codegen.ts, which has done its work
    exported.add(name)
    const calls = (apply) => (...given) => {
      called.add(name)
      return apply(...given)
    }
    app[name] = /^[A-Z]/.test(name) ? new Proxy(value, { construct: (of, given) => calls((...all) => new of(...all))(...given) }) : calls(value)
  }
}
const documents = await import(new URL('generated/graphql.js', BUILT))

// The names of the operations that were sent.
const sent = new Set()
const plainFetch = globalThis.fetch
let online = true
let requests = 0
globalThis.fetch = (url, options) => {
  if (!online) return Promise.reject(new TypeError('fetch failed'))
  requests += 1
  const { operationName, query } = JSON.parse(options?.body ?? '{}')
  sent.add(operationName ?? /(?:query|mutation|subscription) (\w+)/.exec(query ?? '')?.[1])
  return plainFetch(url, options)
}

async function shownBy(list) {
  const { data } = await list.refetch()
  return data
}

// Apollo tells its watchers a little after the cache has changed.
async function until(holds) {
  for (const end = Date.now() + 5000; !holds() && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.ok(holds())
}

const rowsOf = (data) => data.talent.recommendedJobs.edges
const jobsOf = (data) => rowsOf(data).map((row) => row.node.jobId)
const apollo = (link = new HttpLink({ uri: address })) => app.apolloClient(link)
const headers = { authorization: '' }

test('Apollo: a list pages, hides what is dismissed at once, and shows it again when it is taken back', async () => {
  const talent = await talentWithHistory(10)
  const before = await wholeList(talent)
  const client = apollo()
  const list = app.openList(client, talent)
  const seen = []
  const watching = list.subscribe(({ data, dataState }) => dataState === 'complete' && seen.push(data))
  await app.nextPage(list, await shownBy(list))
  const now = () => client.cache.readQuery({ query: documents.JobListDocument, variables: { talent, filter: null, after: null } }, true)
  assert.deepEqual(jobsOf(now()), before.slice(0, 20))
  const total = now().talent.recommendedJobs.totalCount

  const row = rowsOf(now())[4]
  const dismissing = app.dismiss(client, now().talent, row)
  assert.ok(!jobsOf(now()).includes(row.node.jobId), 'hidden before the answer')
  const undo = await dismissing
  assert.deepEqual(jobsOf(now()), before.slice(0, 20).filter((job) => job !== row.node.jobId))
  assert.equal(now().talent.recommendedJobs.totalCount, total - 1)
  assert.ok(!(await wholeList(talent)).includes(row.node.jobId))
  await app.nextPage(list, now())
  assert.deepEqual(jobsOf(now()), before.slice(0, 30).filter((job) => job !== row.node.jobId))

  await undo()
  assert.deepEqual(jobsOf(now()), before.slice(0, 30))
  assert.equal(now().talent.recommendedJobs.totalCount, total)
  assert.ok((await wholeList(talent)).includes(row.node.jobId))
  await until(() => jobsOf(seen.at(-1)).length === 30)
  assert.deepEqual(jobsOf(seen.at(-1)), before.slice(0, 30), 'the screen was told')
  watching.unsubscribe()
})

test('Apollo: a screen is drawn with every change, and the list is asked for once', async () => {
  const talent = await talentWithHistory(11)
  const lengths = []
  const before = requests
  const stop = await app.walkThrough(address, talent, (rows) => lengths.push(rows.length))
  await until(() => lengths.at(-1) === 20)
  stop()
  assert.equal(lengths[0], 10)
  assert.ok(lengths.includes(19))
  assert.equal(requests - before, 4)
})

test('Apollo: a dismissal that cannot be sent, or is refused, shows the row again', async () => {
  const talent = await talentWithHistory(11)
  const client = apollo()
  const list = app.openList(client, talent)
  const watching = list.subscribe({})
  const data = await shownBy(list)
  const now = () => client.cache.readQuery({ query: documents.JobListDocument, variables: { talent, filter: null, after: null } }, true)
  online = false
  await assert.rejects(app.dismiss(client, data.talent, rowsOf(data)[0]))
  online = true
  assert.deepEqual(jobsOf(now()), jobsOf(data))
  const gone = { ...rowsOf(data)[1], node: { ...rowsOf(data)[1].node } }
  await assert.rejects(app.dismiss(client, { ...data.talent, talentId: 'nobody' }, gone), /UNKNOWN_ID/)
  assert.deepEqual(jobsOf(now()), jobsOf(data))
  watching.unsubscribe()
})

test('Apollo: another filter is another list, and the first stays cached', async () => {
  const talent = await talentWithHistory(12)
  const client = apollo()
  const list = app.openList(client, talent)
  const watching = list.subscribe({})
  const all = await shownBy(list)
  const { data: filtered } = await list.setVariables({ talent, filter: { levels: ['EXPERT'] }, after: null })
  assert.notDeepEqual(jobsOf(filtered), jobsOf(all))
  assert.deepEqual(jobsOf(await shownBy(app.openList(client, talent, { levels: ['EXPERT'] }))), jobsOf(filtered))
  const variables = { talent, filter: null, after: null }
  assert.deepEqual(client.cache.readQuery({ query: documents.JobListDocument, variables }), all)
  watching.unsubscribe()
})

test('Apollo: `nodes` keeps only the last page', async () => {
  const talent = await talentWithHistory(12)
  const before = await wholeList(talent)
  const client = apollo()
  const { gql } = await import('@apollo/client')
  const query = gql`query Nodes($talent: ID!, $after: String) {
    talent(talentId: $talent) { id recommendedJobs(first: 5, after: $after) { nodes { id jobId } pageInfo { hasNextPage endCursor } } }
  }`
  const list = client.watchQuery({ query, variables: { talent } })
  const watching = list.subscribe({})
  const { data } = await list.refetch()
  await list.fetchMore({ variables: { after: data.talent.recommendedJobs.pageInfo.endCursor } })
  const { nodes } = client.cache.readQuery({ query, variables: { talent } }).talent.recommendedJobs
  assert.deepEqual(nodes.map((job) => job.jobId), before.slice(5, 10))
  watching.unsubscribe()
})

test('urql: a list pages, hides what is dismissed at once, and shows it again when it is taken back', async () => {
  const talent = await talentWithHistory(13)
  const before = await wholeList(talent)
  const client = app.urqlClient(address)
  const first = (await app.listPage(client, talent)).data
  const cursor = first.talent.recommendedJobs.pageInfo.endCursor
  const second = (await app.listPage(client, talent, cursor)).data
  assert.deepEqual(jobsOf(second), before.slice(0, 20))

  const row = rowsOf(second)[4]
  const screens = []
  const variables = { talent, filter: null, after: cursor }
  const watching = client.query(documents.JobListDocument, variables).subscribe(({ data }) => data && screens.push(jobsOf(data)))
  const rest = before.slice(0, 20).filter((job) => job !== row.node.jobId)
  const dismissing = app.recordJob(client, 'DISMISS', talent, row)
  await dismissing
  assert.deepEqual(screens[1], rest, 'hidden')
  await until(() => screens.at(-1).length === rest.length)
  assert.ok(!(await wholeList(talent)).includes(row.node.jobId))

  await app.recordJob(client, 'UNDISMISS', talent, row)
  assert.deepEqual(jobsOf((await app.listPage(client, talent)).data).slice(0, 10), before.slice(0, 10))
  assert.deepEqual(jobsOf((await app.listPage(client, talent, cursor)).data), before.slice(0, 20))
  watching.unsubscribe()
})

test('urql: a dismissal that cannot be sent shows the row again', async () => {
  const talent = await talentWithHistory(14)
  const client = app.urqlClient(address)
  const { data } = await app.listPage(client, talent)
  const lengths = []
  const watching = client
    .query(documents.JobListDocument, { talent, filter: null, after: null })
    .subscribe(({ data: screen }) => lengths.push(rowsOf(screen).length))
  online = false
  await assert.rejects(app.recordJob(client, 'DISMISS', talent, rowsOf(data)[0]), CombinedError)
  online = true
  assert.deepEqual(lengths, [10, 9, 10])
  watching.unsubscribe()
  assert.deepEqual(jobsOf((await app.listPage(client, talent)).data), jobsOf(data))
  await assert.rejects(app.recordJob(client, 'VIEW', 'nobody', rowsOf(data)[0]), /UNKNOWN_ID/)
})

test('a facet toggles a filter, and counts what the filter then gives', async () => {
  const talent = await talentWithHistory(12)
  const client = apollo()
  const counted = async (filter) => {
    const { data } = await client.query({ query: documents.JobFacetsDocument, variables: { talent, filter } })
    return data.talent.recommendedJobs
  }
  let filter = {}
  for (const name of ['SKILLS', 'LEVELS']) {
    const { facets } = await counted(filter)
    const facet = facets.find((one) => one.name === name)
    const [bucket] = facet.buckets
    const narrower = app.toggled(filter, facet, bucket.value)
    const after = await counted(narrower)
    assert.equal(after.totalCount, bucket.count)
    const selected = after.facets.find((one) => one.name === name)
    assert.ok(selected.buckets.find((one) => one.value === bucket.value).isSelected)
    const wider = app.toggled(narrower, selected, bucket.value)
    assert.equal((await counted(wider)).totalCount, (await counted(filter)).totalCount)
    filter = narrower
  }
})

test('reasons are said in another language by their kind, and a kind that is new in English', async () => {
  const { data } = await app.listPage(app.urqlClient(address), await talentWithHistory(12))
  const reasons = rowsOf(data).flatMap((row) => row.reasons)
  assert.ok(reasons.length > 0)
  for (const reason of reasons) assert.ok(app.reasonInGerman(reason).length > 0)
  const shared = { kind: 'SHARED_SKILLS', text: 'shares Go and SQL', skills: ['Go', 'SQL'], jobs: [] }
  assert.equal(app.reasonInGerman(shared), 'Passt zu deinen Kenntnissen: Go und SQL')
  assert.equal(app.reasonInGerman({ ...shared, kind: 'OF_TOMORROW' }), 'shares Go and SQL')
})

test('what to do about an error follows from its code, in both clients', async () => {
  const talent = await talentWithHistory(12)
  const variables = { talent, filter: { budget: { type: 'HOURLY', currency: 'USD', min: '9', max: '4' } } }
  const ofApollo = await apollo().query({ query: documents.JobListDocument, variables }).catch((error) => error)
  assert.ok(CombinedGraphQLErrors.is(ofApollo))
  assert.equal(app.actionFor(ofApollo), 'report')
  const { error } = await app.listPage(app.urqlClient(address), talent, null, variables.filter)
  assert.equal(app.actionFor(error), 'report')
  const coded = (code) => new CombinedGraphQLErrors({ data: null, errors: [{ message: '', extensions: { code } }] })
  assert.equal(app.actionFor(coded('UNAVAILABLE')), 'retry')
  assert.equal(app.actionFor(coded('CURSOR_EXPIRED')), 'restart list')
  online = false
  const lost = await apollo().query({ query: documents.JobListDocument, variables }).catch((problem) => problem)
  online = true
  assert.equal(app.actionFor(lost), 'retry')
  assert.equal(app.actionFor(new CombinedError({ networkError: new TypeError('fetch failed') })), 'retry')
})

test('an offline queue keeps, sends, sends again, and drops what is refused for good', async () => {
  const talent = await talentWithHistory(15)
  const { data } = await app.listPage(app.urqlClient(address), talent)
  const [first, second, third] = rowsOf(data)
  let stored = []
  const outcomes = []
  const send = async (events) => {
    const outcome = await app.sendEvents(address, headers, events)
    outcomes.push([outcome, events.length])
    return outcome
  }
  const queue = new app.EventQueue([], (events) => (stored = [...events]), send)
  queue.add(app.impression(talent, first))
  queue.add(app.jobEvent('VIEW', talent, first))
  queue.add(app.jobEvent('HIRE', talent, second)) // not a talent's to do: INVALID
  online = false
  assert.equal(await queue.flush(), false)
  assert.equal(stored.length, 3)
  online = true

  // The app ends and starts again with what was stored, after a part of it had arrived without an answer.
  assert.equal(await app.sendEvents(address, headers, stored.slice(0, 1)), 'answered')
  const next = new app.EventQueue([...stored], (events) => (stored = [...events]), send)
  const broken = { ...app.jobEvent('SAVE', talent, second), value: 'much' } // refused as a whole, before any of it is read
  next.add(broken)
  next.add(app.jobEvent('SAVE', talent, third))
  next.add(app.impression(talent, first)) // seen again: the same id
  assert.equal(await next.flush(), true)
  assert.deepEqual(stored, [])
  assert.ok(outcomes.some(([outcome, size]) => outcome === 'refused' && size === 1))
  const { talent: had } = await ask(
    `query Had($id: ID!) { talent(talentId: $id) { interactions(types: [IMPRESSION, VIEW, SAVE], first: 3) { nodes { type job { jobId } recommendationId } } } }`,
    { id: talent },
  )
  const of = (type, row) => ({ type, job: { jobId: row.node.jobId }, recommendationId: row.recommendationId })
  assert.deepEqual(
    new Set(had.interactions.nodes.map((event) => JSON.stringify(event))),
    new Set([of('SAVE', third), of('VIEW', first), of('IMPRESSION', first)].map((event) => JSON.stringify(event))),
  )
})

test('a screen is told that its list is out of date', async () => {
  const talent = await talentWithHistory(16)
  let told
  const change = new Promise((resolve) => (told = resolve))
  const stop = app.onChange(address.replace('http', 'ws'), '', app.changesOf(talent), told)
  const timer = setInterval(async () => dismiss(talent, (await wholeList(talent))[0]), 300)
  await change
  sent.add('ListChanged')
  clearInterval(timer)
  stop()
})

test('the token of an answer goes with what is asked next', async () => {
  const talent = await talentWithHistory(17)
  const asked = []
  const spy = (url, options) => {
    asked.push(new Headers(options.headers).get('tandem-consistency-token'))
    return fetch(url, options)
  }
  const client = apollo(ApolloLink.from([app.tokenLink(), new HttpLink({ uri: address, fetch: spy })]))
  const data = await shownBy(app.openList(client, talent))
  await app.dismiss(client, data.talent, rowsOf(data)[0])
  const next = await shownBy(app.openList(client, talent))
  assert.ok(!jobsOf(next).includes(rowsOf(data)[0].node.jobId))
  assert.equal(asked[0], null)
  assert.ok(asked.at(-1))
})

after(() => {
  // What trusted.mjs calls, against a gateway that trusts only the page's documents.
  const elsewhere = ['trustedLink', 'trustedExchange', 'named']
  assert.deepEqual([...exported].filter((name) => !called.has(name) && !elsewhere.includes(name)), [])
  const manifest = readFileSync(new URL('../generated/persisted-documents.json', BUILT), 'utf8')
  for (const text of Object.values(JSON.parse(manifest))) {
    const [, name] = /(?:query|mutation|subscription) (\w+)/.exec(text)
    assert.ok(sent.has(name), `${name} was never sent`)
  }
})

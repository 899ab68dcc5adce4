# The program and all that it runs on. `docker compose build` makes it; so does `docker build -t adai-study .`
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Empty: torch as it comes from PyPI, with CUDA. For the small build without, the address of PyTorch's index of CPU wheels.
ARG TORCH_INDEX=
WORKDIR /build
RUN python -m venv /opt/adai
COPY pyproject.toml constraints.txt ./
# What is installed changes seldom, what is written here often: so these are two layers.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > wanted.txt \
    && if [ -n "${TORCH_INDEX}" ]; then \
         /opt/adai/bin/pip install --no-cache-dir --no-deps --constraint constraints.txt --index-url "${TORCH_INDEX}" torch torchvision; \
       fi \
    && /opt/adai/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt --requirement wanted.txt
COPY README.md LICENSE ./
COPY adai adai
COPY workers workers
COPY study study
COPY dashboards dashboards
RUN /opt/adai/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE}
# gcc compiles the optimizers' steps, g++ and Python's headers the engine of convolutional networks, both on first use.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY --from=build /opt/adai /opt/adai
# Any user may be told to run it, so these are for all; the volume that is mounted at /cache inherits this.
RUN install --directory --mode 1777 /cache && install --directory --mode 0755 /work /data /secrets
COPY --from=build /wheels /wheels
RUN /opt/adai/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /wheels/*.whl
COPY deploy/*.py /opt/adai/deploy/
# Whatever the umask of the clone was.
RUN chmod -R a+rX /opt/adai/deploy
# torch and Ray ask for a user's name and home; the user that compose sets has neither.
ENV PATH=/opt/adai/bin:${PATH} \
    HOME=/tmp USER=adai LOGNAME=adai TZ=UTC \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/cache TORCHINDUCTOR_CACHE_DIR=/cache/torch MPLCONFIGDIR=/tmp/matplotlib \
    ADAI_DATA=/data
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["adai-study"]
CMD ["--help"]

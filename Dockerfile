# syntax=docker/dockerfile:1
# The operator's image: only the wheel and its runtime needs, not root, no shell tools of ours.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY controllers controllers
RUN pip install --no-cache-dir --target /app .

FROM python:3.13-slim
COPY --from=build /app /app
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python", "-m", "drover_operator"]
CMD ["run"]

# The relay. Built in one stage, run from another that holds production dependencies only. The base
# is named by digest, the index of all platforms; Dependabot proposes the next.
FROM node:24-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
# What `rowcast dev` starts is not part of the image. Optional: valibot's optional peer is the TypeScript compiler.
RUN npm run build && rm -r dist/page && npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Rowcast" \
  org.opencontainers.image.description="Relays committed Postgres rows to WebSocket clients through Amazon API Gateway." \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION"
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY migrations ./migrations
# `docker exec … rowcast status`
RUN chmod +x dist/main.js && ln -s /app/dist/main.js /usr/local/bin/rowcast
# Nothing is written: run it with a read-only root file system.
USER node
EXPOSE 8080
# `docker run --init`, or initProcessEnabled on ECS, gives it an init process; it handles SIGTERM itself either way.
ENTRYPOINT ["node", "dist/main.js"]
CMD ["start"]

# The relay. Built in one stage, run from another that holds production dependencies only.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
# What `rowcast dev` starts is not part of the image. Optional: valibot's optional peer is the TypeScript compiler.
RUN npm run build && rm -r dist/page && npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-bookworm-slim
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
